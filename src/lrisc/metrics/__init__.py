"""Measures of quality: of whole pictures, and inside and outside of a region."""
