"""A small feature-pyramid network with a closed vocabulary: the packaged model."""
