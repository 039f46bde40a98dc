"""What a training run may be told, and how it is read."""
