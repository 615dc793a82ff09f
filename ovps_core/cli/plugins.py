"""Parts of the command line that other packages register as entry points.

Entry points let the library offer commands of the ROS package and of the training code without importing either.
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import cast

from ovps_core.cli import CommandModule
from ovps_core.errors import MissingDependencyError


def load_plugin(group: str, name: str, *, needs: str) -> CommandModule:
    """Import the module that an installed package registered as entry point ``name`` of ``group``.

    Args:
        group: group of entry points, "ovps.bench".
        name: name within the group.
        needs: advice for when it is missing: what to install, and how.

    Raises:
        MissingDependencyError: nothing is registered, or the module or one of its imports is not installed.
    """
    found = next(iter(entry_points(group=group, name=name)), None)
    if found is None:
        raise MissingDependencyError(needs)
    try:
        return cast(CommandModule, found.load())
    except ImportError as error:
        raise MissingDependencyError(f"{needs} ({error})") from error
