"""Losses: what a network's maps and attention should look like, as scalars with gradients."""
