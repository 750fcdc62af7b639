"""The paper: spots, aggregation, fine matching, and the whole model."""
