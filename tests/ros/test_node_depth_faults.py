"""Depth, camera_info and topics that do not fit have a fault of their own each, and no pose is sent."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")

from helpers.robot import NODE_STARTS, Robot
from ovps_ros.msg import PartMasks, Parts3D
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from ovps_ros.messages import message_encoder
from ovps_ros.tools.processes import NodeProcesses

pytestmark = pytest.mark.ros
PICTURE = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
METRES = np.full((240, 320), 0.8, np.float32)
DISTORTED = [-0.35, 0.12, 0.001, -0.002, 0.0]

LARGE = [600.0, 0.0, 320.0, 0.0, 600.0, 240.0, 0.0, 0.0, 1.0]
"""Camera matrix of 640x480 pixels."""


def show(
    robot: Robot, depth: np.ndarray = METRES, depth_frame: str = "", info_frame: str = "",
    **info_fields: Any,
) -> None:  # fmt: skip
    """Publish one picture; empty frames are the colour camera's."""
    header = robot.header()
    info = CameraInfo(header=robot.header(), width=320, height=240)
    info.k = [600.0, 0.0, 160.0, 0.0, 600.0, 120.0, 0.0, 0.0, 1.0]
    for name, value in info_fields.items():
        setattr(info, name, value)
    info.header.frame_id = info_frame or header.frame_id
    image = message_encoder.image(depth, robot.header())
    image.header.stamp = header.stamp
    image.header.frame_id = depth_frame or header.frame_id
    robot.infos.publish(info)
    robot.depths.publish(image)
    robot.images.publish(message_encoder.image(PICTURE, header))
    robot.rest(0.15)


@pytest.mark.parametrize(
    ("shown", "name", "words", "hint"),
    [
        ({"info_frame": "camera_depth_optical_frame"}, "camera_info", "of the frame", "remap"),
        ({"width": 640, "height": 480, "k": LARGE}, "camera_info", "640x480, colour image of 320x240", "remap"),
        ({"k": LARGE}, "camera_info", "outside of them; are its matrices of another resolution", "calibrate"),
        ({"d": DISTORTED}, "camera_info", "set image_geometry", "remap"),
        ({"k": [0.0] * 9}, "camera_info", "focal lengths", "calibrate"),
        ({"depth_frame": "camera_depth_optical_frame"}, "depth frame", "of the frame", "align"),
        ({"depth": METRES * 1000}, "depth range", "800.00 m", "32FC1 depth is read as metres"),
        ({"depth": METRES * 5}, "depth range", "4.00 m", "raise depth_range"),
        ({"depth": np.full((240, 320), 60_000, np.uint16)}, "depth range", "60.00", "depth_scale"),
        ({"depth": METRES / 50}, "depth range", "0.02 m", "lower the near end of depth_range"),
        ({"depth": np.full((240, 320), 7, np.uint8)}, "depth", "'mono8' is not a depth", "16UC1"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_and_has_no_pose(
    robot: Robot, shown: dict[str, Any], name: str, words: str, hint: str
) -> None:
    spaces = robot.listen(Parts3D, "/ovps/parts_3d")
    robot.ask("knife handle")
    robot.answer(PICTURE)

    def said() -> str:
        spaces.clear()
        show(robot, **shown)
        level, message, values = robot.faults().get(f"ovps: {name}", (b"\0", "", {}))
        return values["hint"] if level != b"\0" and words in message else ""

    assert hint in robot.spin_until(said)
    spaces.clear()
    robot.masks.clear()
    for _ in range(5):
        show(robot, **shown)
    assert robot.masks  # masks do not need depth
    assert not [part for space in spaces for part in space.parts]


def test_two_publishers_on_one_topic_are_named(robot: Robot) -> None:
    second = robot.node.create_publisher(Image, "image", qos_profile_sensor_data)
    values = robot.fault("publishers", "2 publishers on /image: /robot, /robot")
    assert "stop one of them" in values["hint"]
    robot.node.destroy_publisher(second)


def test_a_compressed_topic_named_as_image_gets_the_right_hint(toy_weights: Any) -> None:
    with NodeProcesses() as programs:
        remap = ["-r", "__node:=wrong", "-r", "image:=/cam/image_raw/compressed"]
        programs.start("ovps_ros.node", {"model": str(toy_weights), "backend": "torch"}, remap)
        robot = Robot("compressor")
        robot.node.create_publisher(
            CompressedImage, "/cam/image_raw/compressed", qos_profile_sensor_data
        )

        def hint() -> str:
            _, message, values = robot.faults().get("wrong: images", (b"", "", {}))
            return values.get("hint", "") if "CompressedImage" in message else ""

        said = robot.spin_until(hint, NODE_STARTS)
        assert "image:=/cam/image_raw image_transport:=compressed. With ros2 run" in said
        assert "compressed/" not in said and not said.endswith("/compressed")
        robot.close()


def test_depth_in_compressed_depth_is_read(toy_weights: Any) -> None:
    parameters = {
        "model": str(toy_weights), "queries": ["knife handle"], "use_depth": True,
        "depth_transport": "compressedDepth", "score_threshold": 0.0, "mask_threshold": 0.495,
        "max_age": 5.0,
    }  # fmt: skip
    with NodeProcesses() as programs:
        programs.start("ovps_ros.node", parameters, ["-r", "__node:=packed"])
        robot = Robot("packer")
        topic = "depth/compressedDepth"
        depths = robot.node.create_publisher(CompressedImage, topic, qos_profile_sensor_data)
        spaces = robot.listen(Parts3D, "/packed/parts_3d")
        robot.spin_until(depths.get_subscription_count, NODE_STARTS)
        png = cv2.imencode(".png", np.full((240, 320), 800, np.uint16))[1].tobytes()

        def answered() -> bool:
            header = robot.header()
            info = CameraInfo(header=header, width=320, height=240)
            info.k = [600.0, 0.0, 160.0, 0.0, 600.0, 120.0, 0.0, 0.0, 1.0]
            message = CompressedImage(header=header, format="16UC1; compressedDepth png")
            message.data.frombytes(bytes(12) + png)
            robot.infos.publish(info)
            depths.publish(message)
            robot.images.publish(message_encoder.image(PICTURE, header))
            robot.rest(0.2)
            return any(space.parts for space in spaces)

        robot.spin_until(answered)
        part = next(space.parts[0] for space in spaces if space.parts)
        assert part.pose.position.z == pytest.approx(0.8, abs=0.01)
        robot.close()


def test_diagnostics_go_on_without_a_clock_and_say_so(toy_weights: Any) -> None:
    with NodeProcesses() as programs:
        parameters = {"model": str(toy_weights), "use_sim_time": True}
        programs.start("ovps_ros.node", parameters, ["-r", "__node:=timeless"])
        robot = Robot("clockless")

        def said() -> Any:
            level, message, values = robot.faults().get("timeless: clock", (b"\0", "", {}))
            return level != b"\0" and "nobody publishes /clock" in message and values

        assert "use_sim_time" in robot.spin_until(said, NODE_STARTS)["hint"]
        robot.close()


def test_skipped_frames_are_counted_for_each_camera(toy_weights: Any) -> None:
    with NodeProcesses() as programs:
        parameters = {"model": str(toy_weights), "cameras": ["left", "right"]}
        parameters["queries"] = ["knife handle"]
        programs.start("ovps_ros.node", parameters, ["-r", "__node:=both"])
        robot = Robot("both_eyes")
        left = robot.node.create_publisher(Image, "left/image", qos_profile_sensor_data)
        robot.listen(PartMasks, "/both/left/masks")
        robot.spin_until(left.get_subscription_count, NODE_STARTS)

        def skipped() -> list[str]:
            for _ in range(20):
                left.publish(message_encoder.image(PICTURE, robot.header()))
            robot.rest(0.1)
            values = [robot.faults().get(f"both: images {name}") for name in ("left", "right")]
            counts = [value[2]["skipped for newer ones"] for value in values if value]
            return counts if len(counts) == 2 and counts[0] != "0" else []

        assert robot.spin_until(skipped)[1] == "0"
        robot.close()
