"""Every plot and picture, in one style."""
