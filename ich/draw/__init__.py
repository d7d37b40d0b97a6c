"""All plots and pictures, in one style."""
