"""The matchers that there are, and what a matcher is (`contract`)."""
