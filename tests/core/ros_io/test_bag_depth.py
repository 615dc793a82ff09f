"""Poses in a recording: depth of another camera is registered by /tf_static, or no pose is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rosbags")

from helpers.toy_models import write_toy
from rosbags.rosbag2 import StoragePlugin, Writer

from ovps_core import PartSegmenter, SegmentOptions
from ovps_core.models.interface import Conditions, EncodedQueries, QueryRows
from ovps_core.ros_io.bags import AnnotateOptions, BagTopics, annotate
from ovps_core.ros_io.bags.messages import make_message, message_encoder, typestore
from ovps_core.ros_io.bags.reading import open_bag
from ovps_core.ros_io.bags.transforms import StaticTransforms
from ovps_core.ros_io.depth_frames import DepthOptions
from ovps_core.ros_io.recorded import read_answers
from ovps_core.structures.boxes import Box
from ovps_core.structures.masks import ObjectMask, PartMask, PartMasks
from ovps_core.structures.query import PartQuery

HEIGHT, WIDTH = 60, 80
NOW = 1_700_000_000_000_000_000
COLOUR, DEPTH = "camera_color_optical_frame", "camera_depth_optical_frame"
TYPES = {
    "/image": "sensor_msgs/msg/Image",
    "/depth": "sensor_msgs/msg/Image",
    "/info": "sensor_msgs/msg/CameraInfo",
    "/depth_info": "sensor_msgs/msg/CameraInfo",
    "/tf_static": "tf2_msgs/msg/TFMessage",
}
QUERY = "nearest knife handle"
UNTRAINED = SegmentOptions(score_threshold=0.0, mask_threshold=0.498)


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> PartSegmenter:
    path = write_toy("clipseg", tmp_path_factory.mktemp("weights") / "small.safetensors")
    return PartSegmenter.from_pretrained(str(path))


def info(frame_id: str, d: tuple[float, ...] = ()) -> Any:
    roi = make_message(
        "sensor_msgs/msg/RegionOfInterest",
        x_offset=0, y_offset=0, height=0, width=0, do_rectify=False,
    )  # fmt: skip
    k = np.array([90.0, 0, 39.5, 0, 90.0, 29.5, 0, 0, 1])
    return make_message(
        TYPES["/info"], header=message_encoder.header(NOW, frame_id), height=HEIGHT, width=WIDTH,
        distortion_model="plumb_bob", d=np.array(d, float), k=k, r=np.eye(3).ravel(),
        p=np.zeros(12), binning_x=0, binning_y=0, roi=roi,
    )  # fmt: skip


def transforms() -> Any:
    """The depth camera is 15 mm left of the colour camera; both hang on camera_link."""
    found = []
    for child, x in ((COLOUR, 0.0), (DEPTH, -0.015)):
        header = message_encoder.header(NOW, "camera_link")
        moved = make_message(
            "geometry_msgs/msg/Transform",
            translation=make_message("geometry_msgs/msg/Vector3", x=x, y=0.0, z=0.0),
            rotation=make_message("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0),
        )
        found.append(
            make_message(
                "geometry_msgs/msg/TransformStamped",
                header=header, child_frame_id=child, transform=moved,
            )
        )  # fmt: skip
    return make_message("tf2_msgs/msg/TFMessage", transforms=found)


def positions(
    tmp_path: Path, segmenter: PartSegmenter | TwoKnives, depth: np.ndarray, depth_frame: str,
    topics: BagTopics, options: DepthOptions | None = None, d: tuple[float, ...] = (),
) -> tuple[list[list[float]], dict[str, int]]:  # fmt: skip
    """Positions of the parts of one picture, and the counts."""
    rgb = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    own = message_encoder.header(NOW, COLOUR)
    sent = {
        "/tf_static": transforms(),
        "/info": info(COLOUR, d),
        "/depth_info": info(DEPTH),
        "/depth": message_encoder.image(depth, message_encoder.header(NOW, depth_frame)),
        "/image": message_encoder.image(rgb, own),
    }
    bag, out = tmp_path / "bag", tmp_path / "out"
    with Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for topic, message in sent.items():
            to = writer.add_connection(topic, TYPES[topic], typestore=typestore())
            writer.write(to, NOW, typestore().serialize_cdr(message, TYPES[topic]))
    chosen = AnnotateOptions(UNTRAINED, depth=options or DepthOptions())
    query = QUERY if isinstance(segmenter, TwoKnives) else "knife handle"
    counts = annotate(bag, topics, out, segmenter, query, chosen)
    with open_bag(out) as reader:
        messages: list[Any] = [
            reader.deserialize(raw, connection.msgtype)
            for connection, _, raw in reader.messages()
            if connection.topic == "/ovps/parts_3d"
        ]
    points = [part.pose.position for message in messages for part in message.parts]
    return [[p.x, p.y, p.z] for p in points], dict(counts)


ALIGNED = BagTopics("/image", "/depth", "/info")
FLAT = np.full((HEIGHT, WIDTH), 700, np.uint16)


class TwoKnives:
    """Segmenter that finds two knives, the first at the left, and the handles of both."""

    def encode_queries(self, queries: str) -> EncodedQueries:
        assert queries == QUERY
        query = PartQuery(QUERY, "knife", "handle", which="nearest")
        return EncodedQueries((query,), Conditions.placeholder(1), (QueryRows(names=(0,)),))

    def segment(self, image: Any, queries: EncodedQueries, options: SegmentOptions) -> PartMasks:
        mask, boxes = np.ones((20, 20), bool), (Box(5, 20, 20, 20), Box(55, 20, 20, 20))
        objects = tuple(ObjectMask(i, "knife", 0.9, box, mask) for i, box in enumerate(boxes, 1))
        parts = tuple(
            PartMask(one.id, queries.queries[0], 0.9, one.box, mask, object_id=one.id)
            for one in objects
        )
        return PartMasks(HEIGHT, WIDTH, queries.queries, parts, "two knives", objects=objects)


def test_the_nearest_object_of_a_recording_is_chosen_by_its_depth(tmp_path: Path) -> None:
    right_is_near = np.repeat(np.where(np.arange(WIDTH) < 40, 900, 600)[None], HEIGHT, axis=0)
    for name, depth in (("near", right_is_near.astype(np.uint16)), ("none", FLAT * 0)):
        (tmp_path / name).mkdir()
        found, counts = positions(tmp_path / name, TwoKnives(), depth, COLOUR, ALIGNED)
        (answer,) = (masks for _, masks in read_answers(tmp_path / name / "out"))
        assert len(answer.objects) == 2
        assert [part.object_id for part in answer.parts] == ([2] if name == "near" else [])
        assert [point[2] for point in found] == pytest.approx([0.6] * len(answer.parts))
        assert counts.get("nearest not known, without depth", 0) == (name == "none")
    (tmp_path / "flat").mkdir()
    positions(tmp_path / "flat", TwoKnives(), FLAT, COLOUR, BagTopics("/image"))
    (answer,) = (masks for _, masks in read_answers(tmp_path / "flat" / "out"))
    assert not answer.parts, "as the node answers an image without depth"


def test_depth_of_another_frame_gives_no_pose(tmp_path: Path, segmenter: PartSegmenter) -> None:
    found, counts = positions(tmp_path, segmenter, FLAT, DEPTH, ALIGNED)
    assert found == [] and any("'camera_depth_optical_frame'" in reason for reason in counts)


def test_distorted_image_without_a_word_gives_no_pose(
    tmp_path: Path, segmenter: PartSegmenter
) -> None:
    found, counts = positions(
        tmp_path, segmenter, FLAT, COLOUR, ALIGNED, d=(-0.35, 0.12, 0.0, 0.0, 0.0)
    )
    assert found == [] and any("image_geometry" in reason for reason in counts)


def test_parts_out_of_range_are_counted(tmp_path: Path, segmenter: PartSegmenter) -> None:
    found, counts = positions(tmp_path, segmenter, FLAT * 10, COLOUR, ALIGNED)
    assert found == [] and counts["parts out of range"] > 0


def test_registered_depth_gives_the_pose_of_aligned_depth(
    tmp_path: Path, segmenter: PartSegmenter
) -> None:
    """A step in depth at the same place of the world, once seen by colour and once by depth."""
    columns = (np.arange(WIDTH) - 39.5) / 90.0
    aligned = np.where(columns * 0.7 < 0.0, 600, 700).astype(np.uint16)
    raw = np.where(columns * 0.7 - 0.015 < 0.0, 600, 700).astype(np.uint16)
    aligned, raw = (np.repeat(row[None], HEIGHT, axis=0) for row in (aligned, raw))
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    true, _ = positions(tmp_path / "a", segmenter, aligned, COLOUR, ALIGNED)
    both = BagTopics("/image", "/depth", "/info", depth_info="/depth_info")
    found, _ = positions(tmp_path / "b", segmenter, raw, DEPTH, both)
    assert len(found) == len(true) > 0
    np.testing.assert_allclose(found, true, atol=0.02)


@pytest.mark.parametrize("rotation", [[0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, float("nan")]])
def test_a_transform_without_a_rotation_joins_no_frames(rotation: list[float]) -> None:
    edge = {
        "parent": "base",
        "child": "camera",
        "translation": [0.0] * 3,
        "rotation_xyzw": rotation,
    }
    assert StaticTransforms({"camera": edge}).find("base", "camera") is None
