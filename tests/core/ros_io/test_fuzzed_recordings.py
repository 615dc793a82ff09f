"""Any bytes of a recording are read, counted as damaged or refused; masks that do not fit are no answer."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rosbags")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from ovps_core.errors import ImageError, OvpsError, QueryError, RecordingError
from ovps_core.language.parser import parse_query
from ovps_core.pipeline.postprocess.components import SegmentOptions
from ovps_core.ros_io.bags import BagTopics, extract
from ovps_core.ros_io.bags.messages import message_encoder, typestore
from ovps_core.ros_io.codec import PART_MASKS, masks_value
from ovps_core.ros_io.recorded import RecordedSegmenter, read_answers
from ovps_core.structures.boxes import Box
from ovps_core.structures.masks import ObjectMask, PartMask, PartMasks

HEIGHT, WIDTH, SECOND = 12, 16, 10**9
IMAGE = "sensor_msgs/msg/Image"
TOPICS = BagTopics("/image", depth="/depth", masks="/masks")
QUERIES = (parse_query("knife handle"), parse_query("mug rim"))
FORMS = [
    (storage, mode)
    for storage in (StoragePlugin.MCAP, StoragePlugin.SQLITE3)
    for mode in CompressionMode
    if (storage, mode) != (StoragePlugin.SQLITE3, CompressionMode.STORAGE)
]
few = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def answer(shift: int) -> PartMasks:
    mask = np.ones((3, 5), bool)
    handle = PartMask(1, QUERIES[0], 0.9, Box(1 + shift, 2, 5, 3), mask, object_id=1)
    rim = PartMask(2, QUERIES[1], 0.7, Box(2, 8, 5, 3), mask)
    knife = ObjectMask(1, "knife", 0.9, Box(1, 2, 5, 3), mask)
    return PartMasks(HEIGHT, WIDTH, QUERIES, (handle, rim), "m (sha256 1)", objects=(knife,))


def masks_message(number: int) -> Any:
    return message_encoder.masks(answer(number), message_encoder.header(number * SECOND, "camera"))


def write(path: Path, form: tuple[StoragePlugin, CompressionMode], second: bytes = b"") -> Path:
    """A recording of three images with depth and masks; the second masks may be given as bytes."""
    writer = Writer(path, version=9, storage_plugin=form[0])
    if form[1] is not CompressionMode.NONE:
        writer.set_compression(form[1], CompressionFormat.ZSTD)
    with writer:
        to = {
            topic: writer.add_connection(topic, kind, typestore=typestore())
            for topic, kind in (("/image", IMAGE), ("/depth", IMAGE), ("/masks", PART_MASKS))
        }
        for number in (1, 2, 3):
            stamp = number * SECOND
            header = message_encoder.header(stamp, "camera")
            colour = np.full((HEIGHT, WIDTH, 3), 9 * number, np.uint8)
            depth = np.full((HEIGHT, WIDTH), 700, np.uint16)
            for topic, pixels in (("/image", colour), ("/depth", depth)):
                image = message_encoder.image(pixels, header)
                writer.write(to[topic], stamp, typestore().serialize_cdr(image, IMAGE))
            raw = typestore().serialize_cdr(masks_message(number), PART_MASKS)
            writer.write(to["/masks"], stamp, second if second and number == 2 else raw)
    return path


def damaged(data: st.DataObject, content: bytes) -> bytes:
    """``content`` with some bytes changed, or cut."""
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(0, 6))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(changed))) if data.draw(st.booleans()) else len(changed)
    return bytes(changed[:end])


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("recordings")
    return [write(folder / f"{form[0].name}_{form[1].name}", form) for form in FORMS]


@few
@given(data=st.data())
def test_damaged_files_are_read_or_refused(
    recordings: list[Path], tmp_path: Path, data: st.DataObject
) -> None:
    bag, out = tmp_path / "bag", tmp_path / "out"
    for folder in (bag, out):
        shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(data.draw(st.sampled_from(recordings)), bag)
    file = data.draw(st.sampled_from(sorted(bag.iterdir())))
    file.write_bytes(damaged(data, file.read_bytes()))
    with contextlib.suppress(RecordingError):
        assert read_answers(bag)
    with contextlib.suppress(OvpsError):
        count = extract(bag, TOPICS, out)["images"]
        assert len(list(out.glob("frames/*"))) == count <= 3


@few
@given(data=st.data())
def test_damaged_messages_of_masks(tmp_path: Path, data: st.DataObject) -> None:
    bag, out = tmp_path / "bag", tmp_path / "out"
    for folder in (bag, out):
        shutil.rmtree(folder, ignore_errors=True)
    raw = damaged(data, bytes(typestore().serialize_cdr(masks_message(2), PART_MASKS)))
    write(bag, (StoragePlugin.MCAP, CompressionMode.NONE), raw)
    with contextlib.suppress(OvpsError):
        extract(bag, TOPICS, out)
    with contextlib.suppress(OvpsError):
        segmenter = RecordedSegmenter(f"recorded:{bag}")
        queries = segmenter.encode_queries(QUERIES)
        picture, options = np.zeros((HEIGHT, WIDTH, 3), np.uint8), SegmentOptions(min_area=0)
        for number in (1, 2, 3):
            (found,) = segmenter.segment_frames([picture], [number * SECOND], queries, options)
            for part in found.parts:
                assert part.full(HEIGHT, WIDTH).sum() == part.area > 0


@pytest.mark.parametrize(
    "change",
    [
        lambda part, _: setattr(part.roi, "x_offset", WIDTH - 1),
        lambda part, _: setattr(part.roi, "height", 5),
        lambda part, _: setattr(part.mask, "width", 3) or setattr(part.mask, "height", 5),
        lambda part, _: setattr(part.mask, "data", part.mask.data[:-1]),
        lambda part, _: setattr(part.mask, "data", np.zeros_like(part.mask.data)),
        lambda _, message: setattr(message, "width", 4),
    ],
    ids=["outside", "box", "turned", "cut", "no pixel", "image"],
)
@pytest.mark.parametrize("kind", ["parts", "objects"])
def test_a_mask_that_does_not_fit_is_refused(kind: str, change: Any) -> None:
    message = masks_message(1)
    masks_value(message)
    change(getattr(message, kind)[0], message)
    with pytest.raises(ImageError, match="mask"):
        masks_value(message)


def test_a_query_that_cannot_be_is_refused() -> None:
    message = masks_message(1)
    message.parts[0].query.threshold = 2.0
    with pytest.raises(QueryError, match="expected 0 to 1"):
        masks_value(message)


def test_a_damaged_answer_of_a_recorded_model_is_named(tmp_path: Path) -> None:
    message = masks_message(2)
    message.parts[0].roi.x_offset = WIDTH
    raw = bytes(typestore().serialize_cdr(message, PART_MASKS))
    bag = write(tmp_path / "bag", FORMS[0], raw)
    with pytest.raises(RecordingError, match=r"message 2 on /masks: a mask in Box"):
        read_answers(bag)
    bag = write(tmp_path / "cut", FORMS[0], raw[:100])
    with pytest.raises(RecordingError, match="message 2 on /masks: a damaged message"):
        read_answers(bag)
