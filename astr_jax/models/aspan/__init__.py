"""Flow-guided spans: each block regresses a flow with its uncertainty, and looks about it."""
