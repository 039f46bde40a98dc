"""Training of the saliency detector."""
