"""Training of the compact model on rendered scenes, up to the packaged weights."""
