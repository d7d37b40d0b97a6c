"""A data set (CT-ICH, NIfTI pairs, own PNGs) to slices.csv, splits, and slices in memory."""
