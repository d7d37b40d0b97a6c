"""A stranger's scan to a mask in its own space."""
