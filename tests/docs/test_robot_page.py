"""The messages that docs/robot.md prints are those of the node."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from helpers.paths import ROOT, TESTS

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")

from std_msgs.msg import Header

from ovps_core import PartSegmenter
from ovps_core.pipeline.pose import parts_3d
from ovps_core.structures.camera import CameraIntrinsics
from ovps_core.structures.image_files import load_image
from ovps_core.structures.masks import PartMasks
from ovps_ros.standard_topics import label_info_message, poses_message

PAGE = (ROOT / "docs" / "robot.md").read_text("utf-8")
HEADER = Header(frame_id="camera_color_optical_frame")


@pytest.fixture(scope="module")
def masks() -> PartMasks:
    """Answer of the packaged model to the page's query."""
    return PartSegmenter.from_pretrained().segment(
        load_image(ROOT / "docs/images/table.jpg"), "knife handle"
    )


def shown(field: str) -> Any:
    """The printed message of the page that has a field."""
    blocks = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)---\n```", PAGE, re.S)]
    (found,) = [block for block in blocks if field in block]
    return found


def plain(value: Any) -> Any:
    """A message as `ros2 topic echo` prints it: its fields by name, in their order."""
    if isinstance(value, SimpleNamespace):
        return {name: plain(field) for name, field in vars(value).items()}
    if hasattr(value, "get_fields_and_field_types"):
        return {name: plain(getattr(value, name)) for name in value.get_fields_and_field_types()}
    return [plain(one) for one in value] if isinstance(value, (list, tuple)) else value


def without_stamp(message: dict[str, Any]) -> str:
    """Text of a printed message; the stamp is any."""
    message["header"]["stamp"] = dict.fromkeys(message["header"]["stamp"], 0)
    return yaml.safe_dump(message, sort_keys=False)


def test_the_page_shows_the_poses_of_the_answer(masks: PartMasks) -> None:
    height, width = masks.height, masks.width
    camera = CameraIntrinsics(600.0, 600.0, width / 2, height / 2, width, height)
    parts = parts_3d(masks, np.full((height, width), 0.8, np.float32), camera)
    (pose,) = (printed := plain(poses_message(parts, HEADER)))["poses"]
    (on_page,) = (page := shown("poses"))["poses"]
    for kind, tolerance in (("position", 0.02), ("orientation", 0.1)):
        assert on_page[kind] == pytest.approx(pose[kind], abs=tolerance)
        on_page[kind] = pose[kind]
    assert without_stamp(page) == without_stamp(printed)


def test_the_page_shows_the_names_of_the_ids(masks: PartMasks) -> None:
    types = {"VisionClass": SimpleNamespace, "LabelInfo": SimpleNamespace}
    named = {part.id: part.query.label for part in masks.parts}
    message = plain(label_info_message(types, named, 0.5, HEADER))
    definition = (TESTS / "data/vision_msgs/msg/LabelInfo.msg").read_text()
    fields = re.findall(r"^[\w/]+(?:\[\])? (\w+)$", definition, re.M)
    assert list(page := shown("class_map")) == fields and page.keys() == message.keys()
    message = {name: message[name] for name in fields}
    assert without_stamp(page) == without_stamp(message)
