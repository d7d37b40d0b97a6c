"""Single slices: seven preprocessings, EfficientNet, one comparison."""
