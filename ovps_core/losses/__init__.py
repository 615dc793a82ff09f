"""Training losses: scalars with gradients from a network's maps, its attention and the labels."""
