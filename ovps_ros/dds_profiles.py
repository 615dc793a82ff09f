"""Profiles of the middlewares for large images, in the folder ``config/``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

FASTDDS, CYCLONEDDS = "fastdds.xml", "cyclonedds.xml"

FASTDDS_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""Environment variables for the profile of Fast DDS 2 (up to ROS 2 Jazzy) and 3 (since Kilted)."""


def profile_path(name: str) -> Path | None:
    """Profile of this package: in the source tree, or where the package is installed; None if it is absent."""
    prefixes = [*os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep), sys.prefix]
    places = [Path(__file__).parents[1] / "config"]
    places += [Path(prefix) / "share" / "ovps_ros" / "config" for prefix in prefixes if prefix]
    return next((place / name for place in places if (place / name).is_file()), None)
