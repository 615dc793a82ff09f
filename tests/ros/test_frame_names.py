"""TF frames and markers of parts: one name a part, also where several cameras count their own tracks."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")

from std_msgs.msg import Header

from ovps_core.language.parser import parse_query
from ovps_core.language.selection import expand_all_parts
from ovps_core.structures.part3d import Part3D
from ovps_ros.publishers import markers_message
from ovps_ros.transforms import frame_name


def test_cameras_do_not_share_frames() -> None:
    pixels = np.zeros(0, np.uint32)
    part = Part3D(1, 3, parse_query("Knife handle"), 0.9, np.eye(4), np.ones(3), 1.0, pixels)
    assert frame_name("part/", "", part) == "part/knife_handle_3"
    names = {frame_name("part/", camera, part) for camera in ("left", "right")}
    assert names == {"part/left/knife_handle_3", "part/right/knife_handle_3"}


def test_all_parts_of_an_object_have_frames_of_their_own() -> None:
    queries = expand_all_parts(
        parse_query("all parts of the mug"), [("mug", "rim"), ("mug", "handle")]
    )
    parts = [
        Part3D(id_, id_, query, 0.9, np.eye(4), np.ones(3), 1.0, np.zeros(0, np.uint32))
        for id_, query in enumerate(queries, 1)
    ]
    names = [frame_name("part/", "", part) for part in parts]
    assert names == ["part/mug_rim_1", "part/mug_handle_2"]
    markers = markers_message(tuple(parts), Header()).markers
    assert [m.text for m in markers if m.ns == "label"] == ["mug rim 0.90", "mug handle 0.90"]
