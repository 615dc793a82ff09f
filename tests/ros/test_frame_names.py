"""TF frames of parts: one name a part, also where several cameras count their own tracks."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")

from ovps_core.language.parser import parse_query
from ovps_core.structures.part3d import Part3D
from ovps_ros.transforms import frame_name


def test_cameras_do_not_share_frames() -> None:
    pixels = np.zeros(0, np.uint32)
    part = Part3D(1, 3, parse_query("Knife handle"), 0.9, np.eye(4), np.ones(3), 1.0, pixels)
    assert frame_name("part/", "", part) == "part/knife_handle_3"
    names = {frame_name("part/", camera, part) for camera in ("left", "right")}
    assert names == {"part/left/knife_handle_3", "part/right/knife_handle_3"}
