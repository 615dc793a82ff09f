"""OpenVINO and NNCF, imported without their telemetry."""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections.abc import Iterator
from typing import Any

from ovps_core.structures.requirements import load_runtime

_lock = threading.Lock()


def import_openvino() -> Any:
    """The module ``openvino``.

    Raises:
        MissingDependencyError: it is not installed; the message has the line that installs it.
        BackendError: it cannot be loaded.
    """
    with _no_telemetry():
        return load_runtime("openvino", extra="openvino")


def openvino_core() -> Any:
    """The ``openvino.Core`` of this process, which every graph shares and which is never destroyed.

    On processors with AMX, the CPU plugin of a Core replaces the stack that signal handlers of the loading thread
    run on, and frees it where the Core is destroyed. If another thread destroys it, the first one keeps a stack
    that is gone, and its next signal (Ctrl-C, the end of a child) is a segmentation fault. Seen in version 2026.4.

    Raises:
        MissingDependencyError: OpenVINO is not installed; the message has the line that installs it.
        BackendError: it cannot be loaded.
    """
    with _lock:
        return _core()


@functools.cache
def _core() -> Any:
    return import_openvino().Core()


def import_nncf() -> Any:
    """The module ``nncf``, which quantises networks.

    Raises:
        MissingDependencyError: it is not installed; the message has the line that installs it.
        BackendError: it cannot be loaded.
    """
    with _no_telemetry():
        return load_runtime("nncf", extra="openvino")


@contextlib.contextmanager
def _no_telemetry() -> Iterator[None]:
    """Hide the package ``openvino_telemetry`` during an import.

    OpenVINO and NNCF report each import to Google Analytics, from a forked child process. Their documented opt-out
    (``opt_in_out --opt_out``) writes a file into the user's home and itself reports the choice; there is no
    environment variable for it. Both packages do without telemetry if the package cannot be imported.
    """
    hidden = "openvino_telemetry" not in sys.modules
    if hidden:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hidden:
            del sys.modules["openvino_telemetry"]
