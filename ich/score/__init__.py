"""Masks and probabilities to numbers; reads and writes no file."""
