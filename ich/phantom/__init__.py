"""Invented heads, written in every layout that the pipelines read."""
