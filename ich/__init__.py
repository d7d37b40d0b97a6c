"""Modules behind the numbered scripts, in ten rooms (docs/architecture.md); nothing here imports a script."""
