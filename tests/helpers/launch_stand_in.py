"""Stand-in for launch and launch_ros that resolves arguments and tells what a launch file would start."""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from helpers.paths import ROOT


class Entity:
    """Action, event handler or substitution that remembers how it was made."""

    def __init__(self, *positional: Any, **named: Any) -> None:
        self.positional, self.named = positional, named

    def perform(self, launch: Launch) -> str:
        """Value of a substitution."""
        kind, given = type(self).__name__, self.positional[0]
        if kind == "LaunchConfiguration":
            return launch.launch_configurations[given]
        if kind == "PathJoinSubstitution":
            return "/".join(launch.text(part) for part in given)
        if given != "ovps_ros":
            raise LookupError(f"package '{given}' not found")
        return str(ROOT)


_NAMES = {
    "launch": ["LaunchDescription"],
    "launch.actions": [
        "DeclareLaunchArgument", "ExecuteProcess", "IncludeLaunchDescription", "LogInfo", "OpaqueFunction",
        "RegisterEventHandler", "SetEnvironmentVariable", "Shutdown", "TimerAction",
    ],
    "launch.event_handlers": ["OnProcessExit"],
    "launch.substitutions": ["LaunchConfiguration", "PathJoinSubstitution"],
    "launch_ros": [],
    "launch_ros.actions": ["LifecycleNode", "Node"],
    "launch_ros.event_handlers": ["OnStateTransition"],
    "launch_ros.substitutions": ["FindPackageShare"],
}  # fmt: skip


@dataclass
class Launch:
    """A launch file that is visited as ``ros2 launch`` does, without starting anything.

    Attributes:
        launch_configurations: values of the arguments.
        started: nodes and processes, in their order.
        handlers: event handlers.
        environment: variables that the launch sets.
        ended: reason for which the launch ends; empty if it goes on.
    """

    launch_configurations: dict[str, str] = field(default_factory=dict)
    started: list[Entity] = field(default_factory=list)
    handlers: list[Entity] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)
    ended: str = ""

    def text(self, value: Any) -> str:
        """Text of an argument, with substitutions performed."""
        return value.perform(self) if isinstance(value, Entity) else str(value)

    def visit(self, entity: Entity) -> None:
        """Execute one entity and all that it returns."""
        kind, values = type(entity).__name__, self.launch_configurations
        if kind == "DeclareLaunchArgument":
            (name,) = entity.positional
            if name not in values and entity.named["default_value"] is None:
                raise LookupError(f"Required launch argument '{name}' was not provided.")
            values.setdefault(name, entity.named["default_value"])
        elif kind == "OpaqueFunction":
            self.visit_all(entity.named["function"](self))
        elif kind == "IncludeLaunchDescription":
            for name, value in entity.named["launch_arguments"]:
                values[name] = self.text(value)
            self.visit_all(description(Path(self.text(entity.positional[0]))))
        elif kind == "RegisterEventHandler":
            self.handlers += entity.positional
        elif kind == "SetEnvironmentVariable":
            name, value = entity.positional
            self.environment[name] = value
        elif kind == "Shutdown":
            self.ended = entity.named["reason"]
        elif kind in ("ExecuteProcess", "LifecycleNode", "Node"):
            self.started.append(entity)

    def visit_all(self, entities: Any) -> None:
        for entity in entities:
            self.visit(entity)


def description(path: Path) -> list[Entity]:
    """Entities of a launch file."""
    spec = importlib.util.spec_from_file_location("launched", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return list(module.generate_launch_description().positional[0])


@contextmanager
def stand_in() -> Iterator[None]:
    """Put the stand-in in the place of launch and launch_ros."""
    before = {name: sys.modules.get(name) for name in (*_NAMES, "ovps_ros.launch_helpers")}
    sys.modules.pop("ovps_ros.launch_helpers", None)
    for name, classes in _NAMES.items():
        sys.modules[name] = types.ModuleType(name)
        for each in classes:
            setattr(sys.modules[name], each, type(each, (Entity,), {}))
    try:
        yield
    finally:
        for name, module in before.items():
            sys.modules.pop(name, None)
            if module is not None:
                sys.modules[name] = module


def launched(file: str, **arguments: str) -> Launch:
    """A launch file of this project with arguments, as ``ros2 launch ovps_ros FILE NAME:=VALUE`` resolves it."""
    launch = Launch(dict(arguments))
    launch.visit_all(description(ROOT / "launch" / file))
    return launch
