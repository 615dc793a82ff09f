"""Advice for lost images is that of the middleware in use, and its profile is in the package."""

from __future__ import annotations

import time
import xml.etree.ElementTree as ElementTree

import pytest
from helpers.paths import ROOT

pytest.importorskip("rclpy")

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


@pytest.mark.parametrize(
    ("name", "published", "remap"),
    [
        ("image", "/cam/image_raw/compressed", "-r image:=/cam/image_raw"),
        ("depth", "/cam/depth/compressedDepth", "-r depth:=/cam/depth"),
        ("image", "/usb_cam/jpeg", "-r image/compressed:=/usb_cam/jpeg"),
    ],
)
def test_a_remapping_leaves_out_what_the_node_adds_for_compressed_images(
    name: str, published: str, remap: str
) -> None:
    import rclpy
    from sensor_msgs.msg import CompressedImage

    context = rclpy.Context()
    rclpy.init(context=context, domain_id=88)
    node = rclpy.create_node("listener", context=context)
    camera = rclpy.create_node("camera", context=context)
    camera.create_publisher(CompressedImage, published, 1)
    subscription = node.create_subscription(CompressedImage, "/nobody", print, 1)
    deadline = time.monotonic() + 20
    while not node.get_publishers_info_by_topic(published) and time.monotonic() < deadline:
        time.sleep(0.05)
    cause, hint = explain_silence(node, subscription, name)
    assert cause == "no publisher on /nobody" and hint.endswith(remap)
    for each in (node, camera):
        each.destroy_node()
    rclpy.shutdown(context=context)
