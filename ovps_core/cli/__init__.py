"""The command ``ovps``: a table of subcommands, each in its own file."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any, NamedTuple, Protocol, cast

from ovps_core.errors import OvpsError

_INTERRUPTED, _BROKEN_PIPE = 130, 141  # exit status of a program that SIGINT or SIGPIPE ends


class Command(NamedTuple):
    """A subcommand.

    Attributes:
        module: file in this folder, without ``.py``.
        help: one line for ``ovps --help``.
    """

    module: str
    help: str


COMMANDS = {
    "segment": Command("segment", "find parts in a picture by name"),
    "models": Command("list_models", "list the models that have a name, and their files"),
    "convert": Command("convert", "convert released weights into an OVPS file"),
    "bench": Command("bench", "measure the speed of each engine here, and compare their masks"),
    "profile": Command("profile", "show how a frame's time is spent"),
    "export": Command("export", "write a model as an ONNX, OpenVINO or TensorRT graph"),
    "render": Command("render", "render a folder of scenes with exact part masks"),
    "evaluate": Command(
        "evaluate", "score a model on a benchmark or on your own labelled pictures"
    ),
    "bag": Command("bag", "make a data set from a recording, or find parts in one"),
    "train": Command("train", "train a model from a recipe"),
}


class CommandModule(Protocol):
    """Functions of a subcommand's module."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments."""

    def run(self, args: argparse.Namespace) -> int:
        """Run the command; returns its exit status."""


def _import(command: str) -> CommandModule:
    module = importlib.import_module(f"ovps_core.cli.{COMMANDS[command].module}")
    return cast(CommandModule, module)


class HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Shows the default of each option that has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        if action.required or action.default in (None, "", False) or action.default == []:
            return action.help
        return super()._get_help_string(action)


class _Parser(argparse.ArgumentParser):
    """Takes -v before and after the subcommand, since subcommands' parsers are of the same class."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"formatter_class": HelpFormatter, **settings})
        self.add_argument(
            "-v",
            "--verbose",
            action="store_true",
            default=argparse.SUPPRESS,  # otherwise a subcommand's False replaces the -v before it
            help="print which engine runs, and the reason",
        )


def parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """Make the argument parser; only the chosen subcommand is imported and has its arguments."""
    top = _Parser(
        prog="ovps",
        description="Open-vocabulary part segmentation: find the parts of objects that words name.",
    )
    top.add_argument("--version", action="version", version=f"ovps {version('ovps')}")
    subparsers = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        description = command.help[0].upper() + command.help[1:] + "."
        subparser = subparsers.add_parser(name, help=command.help, description=description)
        if name == chosen:
            _import(name).add_arguments(subparser)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    An :class:`OvpsError` is printed as one line on stderr. If the reader of stdout is gone (``| head``), the
    command ends without a word.
    """
    words = sys.argv[1:] if arguments is None else list(arguments)
    chosen = next((word for word in words if word in COMMANDS), None)
    try:
        args = parser(chosen).parse_args(words)
        logging.basicConfig(
            level=logging.INFO if "verbose" in args else logging.WARNING,
            format="%(levelname)s %(message)s",
        )
        status = _import(args.command).run(args)
        sys.stdout.flush()  # a broken pipe shows here, not when the interpreter ends
        return status
    except OvpsError as error:
        print(f"ovps {chosen}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
