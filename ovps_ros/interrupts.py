"""Handling of Ctrl-C while a program is still importing its modules."""

from __future__ import annotations

import signal


def end_quietly_on_interrupt() -> None:
    """End the program at Ctrl-C without a traceback.

    The imports of the programs take seconds, and Python would answer Ctrl-C with a traceback of the import in
    progress. Programs call this before their other imports, and install their own handler when they run. This
    module imports nothing else, so that the call comes early.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
