"""Codecs to compare with."""
