"""Training: stages, losses, data and the loop."""
