"""Networks of all model families, the interface that they share, and their query encoders."""
