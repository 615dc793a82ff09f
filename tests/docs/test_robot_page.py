"""The messages that docs/robot.md prints are those of the node."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from helpers.paths import ROOT
from helpers.vision_messages import stand_in_messages

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")

from std_msgs.msg import Header

from ovps_core import PartSegmenter
from ovps_core.pipeline.pose import parts_3d
from ovps_core.structures.camera import CameraIntrinsics
from ovps_core.structures.image_files import load_image
from ovps_core.structures.masks import PartMasks
from ovps_core.structures.part3d import Part3D
from ovps_ros.standard_topics import (
    detections_3d_message,
    detections_message,
    label_info_message,
    poses_message,
)

PAGE = (ROOT / "docs" / "robot.md").read_text("utf-8")
HEADER = Header(frame_id="camera_color_optical_frame")


@pytest.fixture(scope="module")
def masks() -> PartMasks:
    """Answer of the packaged model to the page's query."""
    return PartSegmenter.from_pretrained().segment(
        load_image(ROOT / "docs/images/table.jpg"), "knife handle"
    )


@pytest.fixture(scope="module")
def places(masks: PartMasks) -> list[Part3D]:
    """The answer's parts in 0.8 m."""
    height, width = masks.height, masks.width
    camera = CameraIntrinsics(600.0, 600.0, width / 2, height / 2, width, height)
    return parts_3d(masks, np.full((height, width), 0.8, np.float32), camera)


def shown(topic: str) -> Any:
    """The message that the page prints below the name of a topic."""
    ((text),) = re.findall(rf"^`~/{topic}`:\n\n```yaml\n(.*?)---\n```", PAGE, re.S | re.M)
    return yaml.safe_load(text)


def plain(value: Any) -> Any:
    """A message as `ros2 topic echo` prints it: its fields by name, in their order."""
    if isinstance(value, SimpleNamespace):
        return {name: plain(field) for name, field in vars(value).items()}
    if hasattr(value, "get_fields_and_field_types"):
        return {name: plain(getattr(value, name)) for name in value.get_fields_and_field_types()}
    if isinstance(value, np.ndarray):  # a covariance, of which the page prints the first two
        return [*value[:2].tolist(), "..."] if len(value) == 36 and not value.any() else value
    return [plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def assert_prints(page: Any, message: Any, tolerance: float = 0.02) -> None:
    """The same fields in their order, and the same values but for their last digits; the stamp is any."""
    if isinstance(message, dict):
        assert list(page) == list(message)
        for name, value in message.items():
            if name != "stamp":
                assert_prints(page[name], value, 0.1 if name == "orientation" else tolerance)
    elif isinstance(message, list):
        assert len(page) == len(message)
        for one, other in zip(page, message, strict=True):
            assert_prints(one, other, tolerance)
    elif isinstance(message, float):
        assert page == pytest.approx(message, abs=tolerance, rel=0.02)
    else:
        assert page == message


def test_the_page_shows_the_detections_of_the_answer(masks: PartMasks) -> None:
    message = plain(detections_message(stand_in_messages(), masks, HEADER))
    assert len(message["detections"]) == 1
    assert_prints(shown("detections"), message)


def test_the_page_shows_the_detections_in_3d_of_the_answer(places: list[Part3D]) -> None:
    message = plain(detections_3d_message(stand_in_messages(), places, HEADER))
    assert_prints(shown("detections_3d"), message)


def test_the_page_shows_the_poses_of_the_answer(places: list[Part3D]) -> None:
    assert_prints(shown("poses"), plain(poses_message(places, HEADER)))


def test_the_page_shows_the_names_of_the_ids(masks: PartMasks) -> None:
    named = {part.id: part.query.label for part in masks.parts}
    message = plain(label_info_message(stand_in_messages(), named, 0.5, HEADER))
    assert_prints(shown("label_info"), message)
