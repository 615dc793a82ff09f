"""Labels and pictures of an extracted data set belong together, and nobody's work is overwritten."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("rosbags")

from rosbags.rosbag2 import StoragePlugin, Writer

from ovps_core.cli import main
from ovps_core.datasets.coco_folder import CocoFolder, ObjectPart
from ovps_core.errors import DatasetError
from ovps_core.ros_io.bags import BagTopics, ExtractOptions, extract
from ovps_core.ros_io.bags.messages import make_message, message_encoder, typestore
from ovps_core.structures.boxes import Box
from ovps_core.structures.masks import PartMask, PartMasks
from ovps_core.structures.query import PartQuery

HEIGHT, WIDTH, SECOND = 48, 64, 10**9
IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
MASKS = "ovps_ros/msg/PartMasks"
HANDLE, PAN = PartQuery("mug handle", "mug", "handle"), PartQuery("pan handle", "pan", "handle")
TOPICS = BagTopics("/image", masks="/masks")
ORIENTATION = 0x0112  # EXIF tag


def write(path: Path, messages: Sequence[tuple[str, str, int, Any]]) -> Path:
    """A recording of (topic, type, record time, message)."""
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        to: dict[str, Any] = {}
        for topic, kind, time, message in messages:
            if topic not in to:
                to[topic] = writer.add_connection(topic, kind, typestore=typestore())
            writer.write(to[topic], time, typestore().serialize_cdr(message, kind))
    return path


def image(stamp: int, frame: str = "camera") -> tuple[str, str, int, Any]:
    pixels = np.random.default_rng(stamp).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return "/image", IMAGE, stamp, message_encoder.image(pixels, message_encoder.header(stamp, frame))


def masks(stamp: int, *queries: PartQuery, found: int = 1) -> tuple[str, str, int, Any]:
    """Masks of an image; the first queries are found."""
    parts = tuple(
        PartMask(number + 1, query, 0.9, Box(2, 2, 6, 6), np.ones((6, 6), bool))
        for number, query in enumerate(queries[:found])
    )
    value = PartMasks(HEIGHT, WIDTH, queries, parts, "model")
    return "/masks", MASKS, stamp, message_encoder.masks(value, message_encoder.header(stamp, "camera"))


def content(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "annotations.json").read_text()))


def test_masks_are_labels_of_their_own_image_only(tmp_path: Path) -> None:
    stamps = [100 * SECOND + number * SECOND // 60 for number in range(6)]
    own = stamps[::3]
    messages = [*map(image, stamps), *(masks(stamp, HANDLE) for stamp in own)]
    manifest = extract(write(tmp_path / "bag", messages), TOPICS, tmp_path / "out")
    assert [entry["stamp_ns"] for entry in content(tmp_path / "out")["images"]] == own
    assert manifest["dropped"] == {"no masks of its stamp": 4}
