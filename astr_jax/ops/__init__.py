"""Pure functions on arrays, one pair at a time, without parameters."""
