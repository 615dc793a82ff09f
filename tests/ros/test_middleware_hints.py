"""Advice for lost images is that of the middleware in use, and its profile is in the package."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator

import pytest
from helpers.paths import ROOT

pytest.importorskip("rclpy")

import rclpy
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from ovps_ros.dds_profiles import CYCLONEDDS, FASTDDS, FASTDDS_VARIABLES, profile_path
from ovps_ros.middleware import explain_silence, large_message_hint


@pytest.mark.parametrize(
    ("middleware", "words"),
    [
        ("rmw_fastrtps_cpp", ("FASTDDS_DEFAULT_PROFILES_FILE", str(ROOT / "config" / FASTDDS))),
        ("rmw_cyclonedds_cpp", ("CYCLONEDDS_URI", 'min="4MB"', "net.core.rmem_max", CYCLONEDDS)),
        ("rmw_zenoh_cpp", ("rmw_zenoh_cpp",)),
    ],
)
def test_hint_names_the_middleware(middleware: str, words: tuple[str, ...]) -> None:
    hint = large_message_hint(middleware)
    assert all(word in hint for word in words)
    assert ("Fast DDS" in hint) == ("fastrtps" in middleware)


def test_a_node_that_has_the_profile_is_not_told_to_take_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for variable in FASTDDS_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    assert "before camera and node start" in large_message_hint("rmw_fastrtps_cpp")
    monkeypatch.setenv(FASTDDS_VARIABLES[0], str(profile_path(FASTDDS)))
    assert "this node has the Fast DDS profile" in large_message_hint("rmw_fastrtps_cpp")


def test_hint_is_for_the_middleware_in_use() -> None:
    from rclpy.utilities import get_rmw_implementation_identifier

    assert large_message_hint() == large_message_hint(get_rmw_implementation_identifier())


def test_profiles_are_well_formed() -> None:
    for name in (FASTDDS, CYCLONEDDS):
        path = profile_path(name)
        assert path is not None
        ElementTree.parse(path)
    buffer = ElementTree.parse(profile_path(CYCLONEDDS) or "").find(".//{*}SocketReceiveBufferSize")
    assert buffer is not None and buffer.get("min") == "4MB"


@pytest.fixture
def nodes() -> Iterator[tuple[Node, Node]]:
    """A listener and a camera, of two participants: one may not have a topic of two types."""
    contexts = rclpy.Context(), rclpy.Context()
    for context in contexts:
        rclpy.init(context=context, domain_id=88)
    made = tuple(
        rclpy.create_node(name, context=context)
        for name, context in zip(("listener", "camera"), contexts, strict=True)
    )
    yield made
    for node, context in zip(made, contexts, strict=True):
        node.destroy_node()
        rclpy.shutdown(context=context)


def wait_for(node: Node, topic: str) -> None:
    deadline = time.monotonic() + 20
    while not node.get_publishers_info_by_topic(topic) and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("name", "published", "launch", "remap"),
    [
        ("image", "/cam/image_raw/compressed", "image:=/cam/image_raw", "image:=/cam/image_raw"),
        ("left/depth", "/d/compressedDepth", 'remap:="left/depth:=/d"', "left/depth:=/d"),
        (
            *("image", "/usb_cam/jpeg", 'remap:="image/compressed:=/usb_cam/jpeg"'),
            "image/compressed:=/usb_cam/jpeg",
        ),
    ],
)
def test_a_remapping_leaves_out_what_the_node_adds_for_compressed_images(
    nodes: tuple[Node, Node], name: str, published: str, launch: str, remap: str
) -> None:
    node, camera = nodes
    camera.create_publisher(CompressedImage, published, 1)
    subscription = node.create_subscription(CompressedImage, "/nobody", print, 1)
    wait_for(node, published)
    cause, hint = explain_silence(node, subscription, name)
    assert cause == "no publisher on /nobody"
    assert f"With ros2 launch: {launch}. " in hint
    assert hint.endswith(f"With ros2 run: --ros-args -r {remap}")


def test_a_topic_of_another_type_or_reliability_has_lines_to_paste(
    nodes: tuple[Node, Node],
) -> None:
    node, camera = nodes
    camera.create_publisher(Image, "/raw", qos_profile_sensor_data)
    for topic in ("/cam/compressed", "/depth/compressedDepth"):
        camera.create_publisher(CompressedImage, topic, 1)
    camera.create_publisher(CameraInfo, "/odd", 1)

    def hint(message_type: type, topic: str, name: str) -> str:
        subscription = node.create_subscription(message_type, topic, print, 1)
        wait_for(node, topic)
        said = explain_silence(node, subscription, name)[1]
        node.destroy_subscription(subscription)
        return said

    launch, run = "With ros2 launch: ", "With ros2 run: --ros-args "
    said = hint(Image, "/raw", "image")
    name = "qos_overrides./raw.subscription.reliability"
    assert f"in params_file: {name}: best_effort. " in said
    assert said.endswith(f"{run}-p {name}:=best_effort")
    said = hint(Image, "/cam/compressed", "image")
    assert f"{launch}image:=/cam image_transport:=compressed. " in said
    assert said.endswith(f"{run}-p image_transport:=compressed -r image:=/cam")
    said = hint(Image, "/depth/compressedDepth", "depth")
    assert f"{launch}depth:=/depth, and depth_transport: compressedDepth in params_file. " in said
    assert said.endswith(f"{run}-p depth_transport:=compressedDepth -r depth:=/depth")
    said = hint(CompressedImage, "/raw", "image")
    assert f"{launch}image:=/raw image_transport:=raw. " in said
    assert hint(Image, "/odd", "image").endswith(f"{run}-r image:=/raw")
