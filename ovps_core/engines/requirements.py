"""Check for optional packages."""

from __future__ import annotations

import importlib.util

from ovps_core.errors import MissingDependencyError


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
