"""All plots and pictures, in one style (plots.py), and what their colours mean."""
