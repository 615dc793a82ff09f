"""Launch files name only topics and parameters that the node has; where launch_ros is, they load."""

from __future__ import annotations

import ast
import importlib.util
import json
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from helpers.paths import ROOT

LAUNCH = sorted((ROOT / "launch").glob("*.launch.py"))
INPUTS = {"image", "depth", "camera_info"}
OF_LAUNCH = {"params_file", "namespace", "use_sim_time", "fastdds_profile", "log_level"}


def _parameters() -> set[str]:
    pytest.importorskip("rclpy")
    from ovps_ros.parameters import Settings

    return {f.name for f in fields(Settings)}


def _arguments(path: Path) -> set[str]:
    """Names declared in a launch file's table."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "ARGUMENTS":
            assert isinstance(node.value, ast.Dict)
            return {ast.literal_eval(key) for key in node.value.keys if key is not None}
    return set()


@pytest.mark.parametrize("path", LAUNCH, ids=lambda path: path.name)
def test_short_and_sound(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) < 60
    compile(text, path, "exec")


def test_node_arguments_are_parameters_or_inputs() -> None:
    assert _arguments(ROOT / "launch" / "ovps.launch.py") - OF_LAUNCH - INPUTS <= _parameters()


@pytest.mark.parametrize("path", LAUNCH, ids=lambda path: path.name)
def test_included_arguments_are_declared(path: Path) -> None:
    declared = _arguments(ROOT / "launch" / "ovps.launch.py")
    for call in ast.walk(ast.parse(path.read_text())):
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "include_ovps":
            assert {word.arg for word in call.keywords} <= declared


def test_parameter_file_names_parameters() -> None:
    file = yaml.safe_load((ROOT / "config" / "ovps.yaml").read_text())
    assert set(file["/**"]["ros__parameters"]) <= _parameters()


def test_viewers_show_topics_of_the_node() -> None:
    pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")
    from ovps_ros.publishers import TOPICS, TOPICS_3D

    topics = {f"/ovps/{name}" for name, *_ in TOPICS + TOPICS_3D} | {"/diagnostics"}
    rviz = yaml.safe_load((ROOT / "config" / "ovps.rviz").read_text())
    shown = {d["Topic"]["Value"] for d in rviz["Visualization Manager"]["Displays"]}
    assert shown <= topics
    foxglove = json.loads((ROOT / "config" / "ovps.foxglove.json").read_text())["configById"]
    assert foxglove["Image!overlay"]["imageMode"]["imageTopic"] in topics
    assert set(foxglove["3D!parts"]["topics"]) <= topics


@pytest.mark.parametrize("path", LAUNCH, ids=lambda path: path.name)
def test_description_loads(path: Path) -> None:
    pytest.importorskip("launch_ros", reason="needs a ROS installation with launch_ros")
    spec = importlib.util.spec_from_file_location("launched", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.generate_launch_description().entities
