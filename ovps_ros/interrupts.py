"""Handling of Ctrl-C around imports, and of what it leaves behind."""

from __future__ import annotations

import signal


def end_quietly_on_interrupt() -> None:
    """End the program at Ctrl-C without a traceback.

    The imports of the programs take seconds, and Python would answer Ctrl-C with a traceback of the import in
    progress. Programs call this before their other imports, and install their own handler when they run. This
    module imports nothing else, so that the call comes early.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def forget_interrupt() -> None:
    """Let the program end with its own exit code after a KeyboardInterrupt was caught.

    CPython remembers an interrupt that leaves the ``exec`` of a string, such as the one in which ``dataclasses``
    makes methods. The process then ends by SIGINT although the exception was caught. The next ``exec`` clears it.
    """
    exec("")
