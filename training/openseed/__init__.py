"""Training of OpenSeeD."""
