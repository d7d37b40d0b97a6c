"""Modules behind the numbered scripts; nothing here imports a script."""
