"""Training: the experiment, the step, the loop and its checkpoints."""
