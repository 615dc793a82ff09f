"""A node that is started with something it cannot use says so in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from helpers.paths import ROOT

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")

pytestmark = pytest.mark.ros


def test_a_missing_parameter_file_is_one_line(tmp_path: Path) -> None:
    absent = tmp_path / "absent.yaml"
    command = [sys.executable, "-m", "ovps_ros.node", "--ros-args", "--params-file", str(absent)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250)
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert str(absent) in ended.stderr.splitlines()[-1]


def test_a_failed_activation_says_why() -> None:
    """With a documented parameter that is misspelt: the node stays there and can be configured again."""
    misspelt = "qos_overrides./image.subscription.reliability:=best"
    command = [sys.executable, "-m", "ovps_ros.node", "--ros-args", "-p", misspelt]
    node = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    lines: list[str] = []
    assert node.stderr is not None
    for line in node.stderr:
        lines.append(line)
        if "lifecycle" in line:
            break
    node.terminate()
    node.communicate(timeout=60)
    assert "activate failed" in lines[-1] and "best" in lines[-1], "".join(lines)


@pytest.mark.parametrize("name", ["/left", "right/", "left cam", "a//b", "1st", "links\u00e4"])
def test_a_camera_that_cannot_be_part_of_a_topic_is_named(name: str) -> None:
    from ovps_ros.parameters import ParameterError, Settings

    assert Settings(cameras=["left", "arm/wrist_2"]).cameras
    with pytest.raises(ParameterError, match=f"cameras has {name!r}"):
        Settings(cameras=["left", name])


def test_a_misspelt_parameter_is_named() -> None:
    import rclpy
    from rclpy.parameter import Parameter

    from ovps_ros import parameters

    context = rclpy.Context()
    rclpy.init(context=context)
    given = [
        Parameter("score_treshold", value=0.3),
        Parameter("max_parts", value=2),
        Parameter("other_nodes_gain", value=1.0),
    ]
    node = rclpy.create_node("spelling", context=context, parameter_overrides=given)
    assert parameters.declare(node).max_parts == 2
    assert [w for w in parameters.misspelt(node)] == [
        "no parameter is called 'score_treshold'; its value is not used. Is 'score_threshold' meant?"
    ]
    node.destroy_node()
    rclpy.shutdown(context=context)
