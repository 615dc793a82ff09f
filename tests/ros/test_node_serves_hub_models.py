"""The node with a SAM 3 of transformers: masks, poses and changing queries over DDS, as with any other model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")

from helpers.robot import NODE_STARTS, Robot
from helpers.tiny_sam3 import write_hub_cache
from ovps_ros.msg import Parts3D

from ovps_core import PartSegmenter
from ovps_core.ros_io.codec import masks_value
from ovps_ros.tools.processes import NodeProcesses

pytestmark = [pytest.mark.ros, pytest.mark.usefixtures("own_ros_domain")]
PICTURE = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)
DEPTH = np.full((120, 160), 0.8, np.float32)


def test_the_node_answers_by_the_name_of_a_hub_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_hub_cache("sam3", tmp_path, "facebook/sam3")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))  # of the node's process
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    parameters = {"model": "sam3", "use_depth": True, "max_age": 5.0}
    with NodeProcesses() as programs:
        process = programs.start("ovps_ros.node", parameters)
        robot = Robot("operator")
        robot.spin_until(lambda: robot.images.get_subscription_count(), NODE_STARTS)
        spaces = robot.listen(Parts3D, "/ovps/parts_3d")
        assert robot.ask("knife handle", "the mug's rim").success
        message = robot.answer(PICTURE, DEPTH)
        expected = PartSegmenter.from_pretrained(folder).segment(
            PICTURE, ["knife handle", "the mug's rim"]
        )
        assert len(expected.parts) > 0
        found = masks_value(message)
        assert found.model.startswith("sam3 (sha256 ")
        assert [part.query.text for part in found.parts] == [p.query.text for p in expected.parts]
        for ours, theirs in zip(found.parts, expected.parts, strict=True):
            np.testing.assert_array_equal(ours.mask, theirs.mask)
        robot.spin_until(lambda: any(space.parts for space in spaces))
        assert [
            query.text
            for query in robot.answer_to(PICTURE, "the mug's rim", "knife handle").queries
        ]
        assert robot.ask("pan").success
        assert robot.answer_to(PICTURE, "pan").queries
        robot.close()
        assert programs.stop(process) == 0
