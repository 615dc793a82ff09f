"""Checks for optional packages."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any

from ovps_core.errors import BackendError, MissingDependencyError


def require_packages(*names: str, extra: str) -> None:
    """Check that packages are installed, without importing them.

    Args:
        names: packages by import name.
        extra: optional dependency group of ``ovps`` that has them.

    Raises:
        MissingDependencyError: one of them is missing; the message has the line that installs it.
    """
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        raise MissingDependencyError(
            f'{" and ".join(missing)} {verb} not installed: pip install "ovps[{extra}]"'
        )


def load_runtime(name: str, *, extra: str) -> Any:
    """The module of an engine's runtime.

    Raises:
        MissingDependencyError: it is not installed; the message has the line that installs it.
        BackendError: it is installed, but cannot be loaded; the message has the loader's.
    """
    require_packages(name, extra=extra)
    try:
        return importlib.import_module(name)
    except Exception as error:  # a missing library or driver, of any kind
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise BackendError(
            f"{name} is installed, but cannot be loaded ({reason}); install what it misses, or use backend torch"
        ) from error


def exit_without_packages(*names: str, program: str, advice: str) -> None:
    """End the program with one line on stderr unless its packages are installed.

    A package calls it in its ``__init__.py`` for ``python -m PACKAGE.PROGRAM``, since the imports of a program
    fail before its own first line runs. At that time ``sys.argv[0]`` is "-m".

    Args:
        names: packages by import name.
        program: for the message.
        advice: what to install, and how.
    """
    if sys.argv[:1] != ["-m"]:
        return
    missing = [name for name in names if importlib.util.find_spec(name) is None]
    if missing:
        raise SystemExit(f"{program}: {' and '.join(missing)} cannot be imported; {advice}")
