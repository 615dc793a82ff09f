"""Helpers that the launch files share; they are imported from the installed package."""

from __future__ import annotations

import atexit
import shlex
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launch.actions import (
    DeclareLaunchArgument,
    IncludeLaunchDescription,
    LogInfo,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.substitutions import PathJoinSubstitution
from launch_ros.actions import LifecycleNode, Node
from launch_ros.substitutions import FindPackageShare

from ovps_ros.launch_arguments import (
    INPUTS,
    existing_file,
    further_remaps,
    parameters_file,
    profile_variables,
    python_of_venv,
)

SHARE = FindPackageShare("ovps_ros")
VENV = (
    "",
    "Folder of the virtual environment with the Python packages; empty for the active one, or else the folder "
    "venv of the workspace.",
)
"""Default and description of the launch argument ``venv``."""
_SECONDS_TO_END = "15"  # a busy node takes longer than the 5 s after which launch sends SIGTERM


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


def start_node(context: Any) -> list[Any]:
    """Start the node with the arguments of ovps.launch.py; an OpaqueFunction calls this."""
    given: Mapping[str, str] = context.launch_configurations
    share = SHARE.perform(context)
    try:
        files = [existing_file("params_file", given) or f"{share}/config/ovps.yaml"]
        profile = set_dds_profile(context)
        own = parameters_file(given)
        python = python_of_venv(given["venv"], share)
        remaps = [(name, given[name]) for name in INPUTS] + further_remaps(given["remap"])
    except ValueError as error:
        return stop(str(error))
    if own:  # behind the other file, whose values it overrides
        with tempfile.NamedTemporaryFile("w", prefix="ovps_", suffix=".yaml", delete=False) as file:
            file.write(own)
        atexit.register(Path(file.name).unlink, missing_ok=True)  # launch outlives its node
        files.append(file.name)
    node = LifecycleNode(
        package="ovps_ros",
        executable="ovps_node",
        name="ovps",
        prefix=shlex.quote(python) if python else "",
        sigterm_timeout=_SECONDS_TO_END,
        namespace=given["namespace"],
        parameters=files,
        remappings=remaps,
        arguments=["--ros-args", "--log-level", given["log_level"]],
        output="screen",
    )
    return [*profile, node]


def start_camera(context: Any) -> list[Any]:
    """Start the simulated camera with the Python of the node; an OpaqueFunction calls this."""
    try:
        python = python_of_venv(context.launch_configurations["venv"], SHARE.perform(context))
    except ValueError as error:
        return stop(str(error))
    camera = Node(
        package="ovps_ros",
        executable="ovps_sim_camera",
        prefix=shlex.quote(python) if python else "",
        namespace=context.launch_configurations["namespace"],
        output="screen",
    )
    return [*set_dds_profile(context), camera]


def set_dds_profile(context: Any) -> list[Any]:
    """Set the Fast DDS profile for what is started after this; an OpaqueFunction calls this."""
    given = existing_file("fastdds_profile", context.launch_configurations)
    variables = profile_variables(given, f"{SHARE.perform(context)}/config/fastdds.xml")
    return [SetEnvironmentVariable(*pair) for pair in variables.items()]


def stop(reason: str) -> list[Any]:
    """Actions that end the launch with a reason."""
    return [LogInfo(msg=reason), Shutdown(reason=reason)]
