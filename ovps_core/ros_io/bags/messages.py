"""Messages of ovps_ros for rosbags: their definitions from msg/*.msg, and an encoder of values."""

from __future__ import annotations

import functools
import os
import sysconfig
from pathlib import Path
from typing import Any

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from ovps_core.errors import MissingDependencyError
from ovps_core.ros_io.codec import MessageEncoder


def definitions_folder() -> Path:
    """Folder of the .msg files: in the source tree, a sourced ROS workspace, or this Python's prefix.

    Raises:
        MissingDependencyError: none of these folders has the files.
    """
    prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    shares = [Path(p) / "share/ovps_ros/msg" for p in (*prefixes, sysconfig.get_path("data")) if p]
    folders = [Path(__file__).parents[3] / "msg", *shares]
    for folder in folders:
        if (folder / "PartMasks.msg").is_file():
            return folder
    raise MissingDependencyError(
        f"no message definitions in {', '.join(map(str, folders))}; "
        "install the package again, or source the workspace it was built in"
    )


@functools.cache
def typestore() -> Typestore:
    """Types of the standard messages and of ovps_ros; cached, because rosbags generates code for every type."""
    store = get_typestore(Stores.ROS2_JAZZY)
    types: dict[Any, Any] = {}
    for file in sorted(definitions_folder().glob("*.msg")):
        types.update(get_types_from_msg(file.read_text(), f"ovps_ros/msg/{file.stem}"))
    store.register(types)
    return store


def make_message(type_name: str, /, **fields: Any) -> Any:
    """Message of rosbags, of any type of :func:`typestore`; every field is needed."""
    return typestore().types[type_name](**fields)


message_encoder = MessageEncoder(make_message)
"""Encoder of values as messages of rosbags."""
