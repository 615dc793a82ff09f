"""Helpers that the launch files share; they are imported from the installed package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.substitutions import PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare("ovps_ros")


def include_ovps(**arguments: Any) -> IncludeLaunchDescription:
    """Include ovps.launch.py, which starts the node, with some of its arguments."""
    path = PathJoinSubstitution([SHARE, "launch", "ovps.launch.py"])
    return IncludeLaunchDescription(path, launch_arguments=list(arguments.items()))


def declare_arguments(arguments: Mapping[str, tuple[Any, str]]) -> list[DeclareLaunchArgument]:
    """Declare launch arguments.

    Args:
        arguments: name of each argument, with its default (None if it is required) and description.
    """
    return [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, (default, description) in arguments.items()
    ]
