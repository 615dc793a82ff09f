"""Training of OVPS models from recipes; see ``python -m training.train --help``."""
