"""The command ``ovps``: a table of subcommands, each in its own file."""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import logging
import os
import signal
import sys
import threading
from collections.abc import Sequence
from importlib.metadata import version
from types import FrameType
from typing import Any, NamedTuple, Protocol, cast

from ovps_core.errors import OvpsError

_BROKEN_PIPE = 141  # exit status of a program that SIGPIPE ends
_OF_SIGNAL = 128  # what a shell adds to the number of the signal that ended a program
_WORDS: dict[int, str] = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "terminated",
    signal.SIGHUP: "the terminal is gone",
}
_OF_EXTRA_TORCH = ("torch", "timm", "open_clip", "huggingface_hub")
_CANNOT_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)


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
    "detect": Command("detect", "find objects in a picture by name"),
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
    "annotate": Command(
        "annotate", "write a model's masks for pictures, recordings, or a data set of boxes"
    ),
    "data": Command("data", "show training pictures as a network sees them, or pack them"),
    "label": Command("label", "let people label a data set, or correct its masks"),
    "train": Command("train", "train a model from a recipe"),
    "completion": Command("completion", "print a script that completes `ovps` in a shell"),
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


def parser(*chosen: str | None) -> argparse.ArgumentParser:
    """Make the argument parser; only the chosen subcommands are imported and have their arguments."""
    top = _Parser(
        prog="ovps",
        description="Open-vocabulary part segmentation: find the parts of objects that words name.",
    )
    top.add_argument("--version", action="version", version=f"ovps {version('ovps')}")
    subparsers = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        description = command.help[0].upper() + command.help[1:] + "."
        subparser = subparsers.add_parser(name, help=command.help, description=description)
        if name in chosen:
            _import(name).add_arguments(subparser)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    An :class:`OvpsError` is printed as one line on stderr, a file that cannot be written too. If the reader of
    stdout is gone (``| head``), the command ends without a word. Ctrl-C, SIGTERM and SIGHUP end it and
    what it has started.
    """
    _replace_closed_streams()
    # PyTorch's threads would spin otherwise; it reads this when it loads
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    words = sys.argv[1:] if arguments is None else list(arguments)
    chosen = next((word for word in words if word in COMMANDS), None)
    received = _handle_signals(chosen)
    try:
        args = parser(chosen).parse_args(words or ["--help"])
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
    except ModuleNotFoundError as error:
        if error.name not in _OF_EXTRA_TORCH:
            raise
        advice = f'needs {error.name}, which is not installed: pip install "ovps[torch]"'
        print(f"ovps {chosen}: {advice}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, SystemExit) as error:  # Lightning makes the one of the other
        if isinstance(error, SystemExit) and not received:
            raise
        number = received[0] if received else signal.SIGINT
        with contextlib.suppress(OSError):  # the terminal may be gone
            print(f"ovps {chosen}: {_WORDS[number]}", file=sys.stderr)
        return _OF_SIGNAL + number
    except BrokenPipeError:
        _drop_output()
        return _BROKEN_PIPE
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            print(f"ovps {chosen}: {error.filename}: {error.strerror}", file=sys.stderr)
            return 1
        if error.errno not in _CANNOT_WRITE:
            raise
        _drop_output()
        place = error.filename or "the output"
        print(f"ovps {chosen}: cannot write {place}: {error.strerror}", file=sys.stderr)
        return 1


def _handle_signals(command: str | None) -> list[int]:
    """Make the signals that end a program a KeyboardInterrupt, except during an import: there it ends at once.

    A library that is being imported may swallow the exception or abort on it.

    Returns:
        The signals that have come, a list that grows.
    """
    received: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        received.append(number)
        if not _is_importing(frame):
            raise KeyboardInterrupt
        with contextlib.suppress(OSError):
            os.write(sys.stderr.fileno(), f"ovps {command}: {_WORDS[number]}\n".encode())
        os._exit(_OF_SIGNAL + number)

    if threading.current_thread() is threading.main_thread():
        for each in _WORDS:
            ignored = signal.getsignal(each) == signal.SIG_IGN  # SIGHUP after nohup
            if each == signal.SIGINT or not ignored:
                signal.signal(each, interrupt)
    return received


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _replace_closed_streams() -> None:
    """Drop what is written to a stream that the caller has closed (``>&-``); Python has None for it."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 (till the end)


def _drop_output() -> None:
    """Send what is left in the buffer of stdout nowhere, so that the interpreter ends without an error."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
