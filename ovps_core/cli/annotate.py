"""``ovps annotate WHAT``: a table of what can be annotated, each in its own file."""

from __future__ import annotations

import argparse
import importlib
from typing import cast

from ovps_core.cli import Command, CommandModule

ACTIONS = {
    "boxes": Command(
        "annotate_boxes", "a mask for each box of a COCO file, decoded from the box and its name"
    ),
    "frames": Command("annotate_frames", "masks of a model for folders of pictures and recordings"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``ovps annotate``."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="WHAT")
    for name, command in ACTIONS.items():
        _import(name).add_arguments(actions.add_parser(name, help=command.help))


def run(args: argparse.Namespace) -> int:
    """Annotate."""
    return _import(args.action).run(args)


def _import(action: str) -> CommandModule:
    return cast(CommandModule, importlib.import_module(f"ovps_core.cli.{ACTIONS[action].module}"))
