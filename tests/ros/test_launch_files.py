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
OF_LAUNCH = {
    "params_file",
    "namespace",
    "use_sim_time",
    "fastdds_profile",
    "venv",
    "log_level",
    "remap",
}


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
def test_every_launch_file_is_short_and_compiles(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 60
    compile(text, path, "exec")


def test_node_arguments_are_parameters_or_inputs() -> None:
    from ovps_ros.launch_arguments import INPUTS

    declared = _arguments(ROOT / "launch" / "ovps.launch.py")
    assert declared - OF_LAUNCH - set(INPUTS) <= _parameters()


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


def test_only_given_arguments_override_the_parameter_file(tmp_path: Path) -> None:
    """`queries` with quotes, backslashes and YAML in them arrive as they were written."""
    pytest.importorskip("rclpy")
    import rclpy

    from ovps_ros import parameters
    from ovps_ros.launch_arguments import INPUTS, PARAMETERS, parameters_file

    assert set(PARAMETERS) | set(INPUTS) | OF_LAUNCH == _arguments(
        ROOT / "launch" / "ovps.launch.py"
    )
    assert parameters_file(dict.fromkeys(PARAMETERS, "")) == ""
    with pytest.raises(ValueError, match="use_depth:=maybe; expected true or false"):
        parameters_file({"use_depth": "maybe"})
    texts = [
        'the "best" knife',
        "mug's rim",
        "back\\slash \\n",
        "[knife: handle]",
        "knife, mug",
        "1",
        "true",
        "mug \U0001f600 \u2028 \x7f",
    ]
    users = tmp_path / "users.yaml"
    users.write_text("/**: {ros__parameters: {use_depth: true, model: mine, max_age: 2.5}}")
    for text in texts:
        own = tmp_path / "own.yaml"
        own.write_text(parameters_file({"queries": text, "model": "", "autostart": "false"}))
        files = ["--params-file", str(users), "--params-file", str(own)]
        context = rclpy.Context()
        rclpy.init(args=["--ros-args", *files], context=context)
        node = rclpy.create_node("ovps", context=context, namespace="arm")
        defaults = {"queries": [""], "use_depth": False, "model": "", "max_age": 0.5}
        assert not node.declare_parameter("autostart", True).value
        values = {name: node.declare_parameter(name, v).value for name, v in defaults.items()}
        assert values == {"queries": [text], "use_depth": True, "model": "mine", "max_age": 2.5}
        node.destroy_node()
        rclpy.shutdown(context=context)
    own.write_text(parameters_file({"queries": "[]"}))
    users.write_text("/**: {ros__parameters: {queries: [knife handle]}}")
    context = rclpy.Context()
    rclpy.init(
        args=["--ros-args", "--params-file", str(users), "--params-file", str(own)], context=context
    )
    node = rclpy.create_node("ovps", context=context)
    assert parameters.declare(node).queries == []
    node.destroy_node()
    rclpy.shutdown(context=context)


def test_topics_and_recordings_of_the_bag_launch(tmp_path: Path) -> None:
    from ovps_ros.launch_arguments import absolute_topic, bag_problem, node_topics

    assert absolute_topic("camera/image") == absolute_topic("/camera/image") == "/camera/image"
    assert node_topics("") == ["/ovps/masks", "/ovps/parts_3d"]
    assert node_topics("/arm/") == node_topics("arm") == ["/arm/ovps/masks", "/arm/ovps/parts_3d"]
    bag, out = tmp_path / "bag", tmp_path / "out"
    assert "no recording at" in bag_problem(str(bag), str(out))
    bag.mkdir()
    assert bag_problem(str(bag), str(out)) == ""
    out.mkdir()
    assert "exists already" in bag_problem(str(bag), str(out))


def test_a_profile_of_the_user_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from ovps_ros.dds_profiles import FASTDDS_VARIABLES
    from ovps_ros.launch_arguments import profile_variables

    for name in FASTDDS_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert set(profile_variables("", "ours.xml").values()) == {"ours.xml"}
    monkeypatch.setenv(FASTDDS_VARIABLES[0], "users.xml")
    assert profile_variables("", "ours.xml") == {}
    assert set(profile_variables("given.xml", "ours.xml").values()) == {"given.xml"}


@pytest.mark.parametrize("path", LAUNCH, ids=lambda path: path.name)
def test_every_launch_file_describes_something_to_launch(path: Path) -> None:
    pytest.importorskip("launch_ros", reason="needs a ROS installation with launch_ros")
    spec = importlib.util.spec_from_file_location("launched", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.generate_launch_description().entities


def test_the_node_runs_in_the_virtual_environment_of_its_workspace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ovps_ros.launch_arguments import python_of_venv

    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    isolated, merged = "install/ovps_ros/share/ovps_ros", "install/share/ovps_ros"
    shares = [str(tmp_path / place) for place in (isolated, merged)]
    assert [python_of_venv("", share) for share in shares] == ["", ""]
    python = tmp_path / "venv/bin/python3"
    python.parent.mkdir(parents=True)
    python.touch()
    assert [python_of_venv("", share) for share in shares] == [str(python)] * 2
    assert python_of_venv(str(tmp_path / "venv"), "/nowhere") == str(python)
    with pytest.raises(ValueError, match="expected a virtual environment"):
        python_of_venv(str(tmp_path / "other"), shares[0])
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "active"))  # its Python is in the path
    assert python_of_venv("", shares[0]) == ""
