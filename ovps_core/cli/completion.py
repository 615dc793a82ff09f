"""``ovps completion bash``: a script with which a shell completes commands, options and files.

The script is static. A program that answers each press of Tab itself would have to import PyTorch every time.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ovps_core.cli import COMMANDS, parser
from ovps_core.errors import MissingDependencyError
from ovps_core.structures.requirements import require_packages

_EPILOG = (
    "For bash, write the output to ~/.local/share/bash-completion/completions/ovps; for zsh to a file _ovps in a "
    "folder of $fpath; for fish to ~/.config/fish/completions/ovps.fish. Needs pip install 'ovps[completion]'."
)
_NAMES_OR_FILES = ("model", "models", "recipe", "config")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``ovps completion``."""
    parser.epilog = _EPILOG
    parser.add_argument("shell", choices=["bash", "zsh", "fish"], help="the shell to write for")


def run(args: argparse.Namespace) -> int:
    """Print the script.

    Raises:
        MissingDependencyError: shtab, which writes it, is not installed.
    """
    require_packages("shtab", extra="completion")
    import shtab

    whole = parser(*filter(_is_installed, COMMANDS))
    _complete_files(whole, shtab.FILE)
    print(shtab.complete(whole, args.shell))
    return 0


def _is_installed(command: str) -> bool:
    try:
        parser(command)
    except MissingDependencyError as error:
        print(f"ovps completion: without the options of {command}: {error}", file=sys.stderr)
        return False
    return True


def _complete_files(parser: argparse.ArgumentParser, function: object) -> None:
    """Mark the arguments of a parser and its subparsers that are files."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for subparser in action.choices.values():
                _complete_files(subparser, function)
        elif action.type is Path or action.dest in _NAMES_OR_FILES:
            action.complete = function  # type: ignore[attr-defined]  # where shtab looks for it
