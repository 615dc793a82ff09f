"""The command ``ovps``: a table of subcommands, each a file of its own."""

from __future__ import annotations

import argparse
import importlib
import logging
import sys
from importlib.metadata import version
from typing import Any

from ovps_core.errors import OvpsError

COMMANDS = {
    "segment": "find parts in a picture by name",
    "models": "list the models that can be named and where their weights are",
    "convert": "convert released weights into a file of ours",
    "bench": "measure how fast each engine is here, and whether its masks stay the same",
    "profile": "show where a frame's time goes",
    "export": "write a model as an ONNX, OpenVINO or TensorRT graph",
    "render": "make a folder of rendered scenes with exact part masks",
    "evaluate": "score a model on a benchmark or on your own annotated pictures",
    "bag": "make a data set from a recording, or find parts in one",
}


def _module(command: str) -> Any:
    name = "list_models" if command == "models" else command  # models/ are networks everywhere else
    return importlib.import_module(f"ovps_core.cli.{name}")


class _Parser(argparse.ArgumentParser):
    """Takes -v wherever it stands; subcommands, and theirs, are made of the same class."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.add_argument(
            "-v",
            "--verbose",
            action="store_true",
            default=argparse.SUPPRESS,  # else a subcommand's False would undo the -v before it
            help="say which engine runs and why",
        )


def parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """The argument parser; only the chosen subcommand is filled in, so that others cost no import."""
    top = _Parser(
        prog="ovps",
        description="Open-vocabulary part segmentation: where is the part these words name?",
    )
    top.add_argument("--version", action="version", version=f"ovps {version('ovps')}")
    subs = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, help_line in COMMANDS.items():
        sub = subs.add_parser(
            name,
            help=help_line,
            description=help_line.capitalize() + ".",
            formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        )
        if name == chosen:
            _module(name).add_arguments(sub)
    return top


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; errors a person can act on are one line, not a traceback."""
    words = sys.argv[1:] if arguments is None else arguments
    chosen = next((word for word in words if word in COMMANDS), None)
    args = parser(chosen).parse_args(words)
    logging.basicConfig(
        level=logging.INFO if "verbose" in args else logging.WARNING,
        format="%(levelname)s %(message)s",
    )
    try:
        return _module(args.command).run(args)
    except OvpsError as error:
        print(f"ovps {args.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
