"""``ovps data``: look at training data, and pack it. The code is in the package ``training``."""

from __future__ import annotations

import argparse

from ovps_core.cli import CommandModule
from ovps_core.cli.plugins import load_plugin

_NEEDS = "`ovps data` needs packages that are not installed: pip install 'ovps[train]'"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``ovps data``."""
    _training().add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Show or pack."""
    return _training().run(args)


def _training() -> CommandModule:
    return load_plugin("ovps.commands", "data", needs=_NEEDS)
