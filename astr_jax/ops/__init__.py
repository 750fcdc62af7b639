"""Pure functions on arrays without parameters; of one pair, where shapes show no axis b."""
