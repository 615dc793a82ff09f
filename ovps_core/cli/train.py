"""``ovps train RECIPE``: train a model from a recipe. The code is in the package ``training``."""

from __future__ import annotations

import argparse

from ovps_core.cli import CommandModule
from ovps_core.cli.plugins import load_plugin

_NEEDS = "`ovps train` needs packages that are not installed: pip install 'ovps[train]'"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``ovps train``."""
    _training().add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Train one model."""
    return _training().run(args)


def _training() -> CommandModule:
    return load_plugin("ovps.commands", "train", needs=_NEEDS)
