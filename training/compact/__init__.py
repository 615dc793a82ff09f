"""Training of the packaged compact model on rendered scenes."""
