"""Regions of interest: masks and their fusion into the latent."""
