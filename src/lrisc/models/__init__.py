"""The networks of LRISC, and nothing else: no files, no frames, no channels."""
