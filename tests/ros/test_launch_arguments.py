"""Nodes that each launch file starts, and the values that its arguments become."""

from __future__ import annotations

import atexit
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.launch_stand_in import Launch, launched, stand_in
from helpers.paths import ROOT

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")

from ovps_ros.dds_profiles import FASTDDS_VARIABLES


@pytest.fixture(autouse=True)
def launch_ros() -> Iterator[None]:
    with stand_in():
        yield


def the_node(launch: Launch) -> dict[str, Any]:
    (node,) = [one.named for one in launch.started if one.named.get("executable") == "ovps_node"]
    return node


def given_parameters(launch: Launch) -> dict[str, Any]:
    """Parameters that override those of the user's file."""
    _, *own = the_node(launch)["parameters"]
    found = [yaml.safe_load(Path(file).read_text()) for file in own]
    return found[0]["/**"]["ros__parameters"] if found else {}


def test_what_nobody_gave_is_left_to_the_parameter_file(tmp_path: Path) -> None:
    assert the_node(launched("ovps.launch.py"))["parameters"] == [f"{ROOT}/config/ovps.yaml"]
    mine = str(tmp_path / "mine.yaml")
    Path(mine).write_text("/**: {ros__parameters: {max_age: 1.0}}")
    only_file = launched("ovps.launch.py", params_file=mine)
    assert the_node(only_file)["parameters"] == [mine]
    both = launched("ovps.launch.py", params_file=mine, use_depth="true", queries="")
    assert the_node(both)["parameters"][0] == mine
    assert given_parameters(both) == {"use_depth": True}


def test_quotes_and_backslashes_of_queries_survive() -> None:
    text = 'the "best" mug\'s rim, back\\slash'
    assert given_parameters(launched("ovps.launch.py", queries=text)) == {"queries": [text]}
    assert given_parameters(launched("demo.launch.py", queries=text))["queries"] == [text]


def test_the_file_of_its_parameters_goes_with_the_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    at_the_end: list[Any] = []
    monkeypatch.setattr(
        atexit,
        "register",
        lambda *call, **named: at_the_end.append(functools.partial(*call, **named)),
    )
    _, written = the_node(launched("ovps.launch.py", use_depth="true"))["parameters"]
    assert Path(written).is_file()
    for call in at_the_end:
        call()
    assert not Path(written).exists()


def test_a_wrong_argument_ends_the_launch_before_anything_is_started(tmp_path: Path) -> None:
    absent = str(tmp_path / "absent")
    wrong = {
        "use_depth": "maybe",
        "venv": str(tmp_path),
        "params_file": absent,
        "fastdds_profile": absent,
        "remap": "left/image",
    }
    for name, value in wrong.items():
        launch = launched("ovps.launch.py", **{name: value})
        assert not launch.started and f"{name}:={value}" in launch.ended


def test_a_recording_is_played_when_the_node_is_active_and_then_all_ends(tmp_path: Path) -> None:
    bag, out = str(tmp_path), str(tmp_path / "out")
    launch = launched("bag.launch.py", bag=bag, out=out, image="camera/image", namespace="arm")
    assert [one.named.get("executable") for one in launch.started] == ["ovps_node"]
    active, failed, ended = launch.handlers
    recorder, player = active.named["entities"]
    assert active.named["goal_state"] == "active"
    assert player.named["cmd"] == ["ros2", "bag", "play", bag, "--clock", "100"]
    masks = ["--topics", "/arm/ovps/masks", "/arm/ovps/parts_3d"]
    assert recorder.named["cmd"] == ["ros2", "bag", "record", "--output", out, *masks]
    (timer,) = ended.named["on_exit"]  # of the player, or of a node or recorder that fails
    assert ended.named["handle_once"], "a timer that is started twice never ends"
    launch.visit_all(timer.named["actions"])
    assert launch.ended == "a program ended"
    assert failed.named["goal_state"] == "unconfigured"
    launch.visit_all(failed.named["entities"])
    assert launch.ended == "the node could not be configured"
    node = the_node(launch)
    assert node["namespace"] == "arm" and ("image", "/camera/image") in node["remappings"]
    assert given_parameters(launch) == {"use_sim_time": True}


def test_without_its_recording_or_with_its_output_nothing_is_started(tmp_path: Path) -> None:
    absent, out = str(tmp_path / "absent"), str(tmp_path / "out")
    launch = launched("bag.launch.py", bag=absent, out=out)
    assert not launch.started and not launch.handlers and "no recording at" in launch.ended
    launch = launched("bag.launch.py", bag=str(tmp_path), out=str(tmp_path))
    assert not launch.started and not launch.handlers and "exists already" in launch.ended
    with pytest.raises(LookupError, match="'bag'"):
        launched("bag.launch.py")


def test_without_its_driver_a_camera_launch_starts_no_node(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from helpers import launch_stand_in

    for name in FASTDDS_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    launch = Launch()
    with pytest.raises(LookupError, match="realsense2_camera"):
        launch.visit_all(launch_stand_in.description(ROOT / "launch" / "realsense.launch.py"))
    assert not launch.started
    assert set(launch.environment) >= set(FASTDDS_VARIABLES), "the driver needs the profile too"


def test_every_input_can_be_remapped() -> None:
    node = the_node(launched("ovps.launch.py", objects="/detector/objects", depth_camera_info="/d"))
    assert ("objects", "/detector/objects") in node["remappings"]
    assert ("depth_camera_info", "/d") in node["remappings"]
    node = the_node(launched("ovps.launch.py", remap="left/image:=/l/image_raw, /tf:=tf"))
    assert node["remappings"][-2:] == [("left/image", "/l/image_raw"), ("/tf", "tf")]


def test_rviz_shows_a_node_in_a_namespace() -> None:
    (rviz,) = launched("rviz.launch.py", namespace="arm", frame="base_link").started
    assert ("/ovps/points", "/arm/ovps/points") in rviz.named["remappings"]
    assert rviz.named["arguments"][-2:] == ["-f", "base_link"]


def test_the_camera_of_the_demo_runs_in_the_environment_of_the_node(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").touch()
    launch = launched("demo.launch.py", venv=str(tmp_path))
    (camera,) = [one for one in launch.started if type(one).__name__ == "Node"]
    assert camera.named["prefix"] == the_node(launch)["prefix"] == str(tmp_path / "bin" / "python3")


def test_a_namespace_holds_camera_and_node_of_the_demo() -> None:
    launch = launched("demo.launch.py", namespace="arm")
    (camera,) = [one for one in launch.started if type(one).__name__ == "Node"]
    assert launch.text(camera.named["namespace"]) == the_node(launch)["namespace"] == "arm"
    assert ("image", "image") in the_node(launch)["remappings"]  # relative: in the namespace too
