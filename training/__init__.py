"""Training of OVPS models from recipes; see ``python -m training.train --help``."""

from ovps_core.structures.requirements import exit_without_packages

PACKAGES = ("torch", "lightning", "matplotlib", "tensorboard", "torchvision", "trimesh")
"""Packages that training imports beyond the library; the commands' ``--help`` answers without them."""

exit_without_packages(
    *PACKAGES,
    program="training",
    advice='from a checkout: pip install ".[train]"',
)
