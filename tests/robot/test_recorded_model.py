"""A project without weights tests its grasping: the node answers from a recording of PartMasks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")
pytest.importorskip("rosbags", reason="pip install 'ovps[bags]'")

from helpers.robot import NODE_STARTS, Robot
from ovps_ros.msg import PartMasks as PartMasksMessage
from ovps_ros.srv import SetQueries

from ovps_core.errors import CheckpointError, ImageError, RecordingError
from ovps_core.language.parser import parse_query
from ovps_core.pipeline.postprocess.components import SegmentOptions
from ovps_core.ros_io.codec import masks_value
from ovps_core.ros_io.recorded import RecordedSegmenter, check_recorded
from ovps_core.structures.boxes import Box
from ovps_core.structures.masks import ObjectMask, PartMask, PartMasks
from ovps_ros.messages import message_encoder
from ovps_ros.tools.processes import NodeProcesses
from ovps_ros.tools.record import Recorder

PICTURE = np.zeros((48, 64, 3), np.uint8)
HANDLE, RIM = parse_query("knife handle"), parse_query("mug rim")
SECOND = 1_000_000_000


def answer(shift: int) -> PartMasks:
    """A handle that moves to the right, and a rim that stays."""
    mask = np.ones((6, 20), bool)
    handle = PartMask(1, HANDLE, 0.9, Box(4 + shift, 10, 20, 6), mask)
    rim = PartMask(2, RIM, 0.7, Box(40, 30, 20, 6), mask)
    return PartMasks(48, 64, (HANDLE, RIM), (handle, rim), "other-model (sha256 123)")


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three answers, of images a second apart."""
    folder = tmp_path_factory.mktemp("recording") / "masks"
    with Recorder(folder) as recorder:
        for number in range(3):
            stamp = (number + 1) * SECOND
            header = message_encoder.header(stamp, "camera")
            recorder.write("/ovps/masks", message_encoder.masks(answer(number), header), stamp)
    return folder


def lefts(masks: list[PartMasks]) -> list[int]:
    return [one.parts[0].box.x_offset for one in masks]


def test_images_of_the_recording_get_their_own_answer_and_others_the_next(recording: Path) -> None:
    segmenter = RecordedSegmenter(f"recorded:{recording}")
    queries = segmenter.encode_queries([HANDLE, RIM])

    def ask(*stamps: int) -> list[PartMasks]:
        images = [PICTURE] * len(stamps)
        return segmenter.segment_frames(images, stamps, queries, SegmentOptions())

    assert lefts(ask(3 * SECOND, 1 * SECOND)) == [6, 4]
    assert lefts(ask(7, 8, 9, 10)) == [4, 5, 6, 4]
    assert "recording of other-model" in ask(7)[0].model


def test_only_what_is_asked_and_above_the_threshold_is_answered(recording: Path) -> None:
    segmenter = RecordedSegmenter(f"recorded:{recording}:/ovps/masks")
    queries = segmenter.encode_queries([RIM, parse_query("pan handle")])
    assert [query.text for query in queries.refused] == ["pan handle"]
    (masks,) = segmenter.segment_frames([PICTURE], [1], queries, SegmentOptions())
    assert [part.query.text for part in masks.parts] == ["mug rim"]
    strict = SegmentOptions(score_threshold=0.8)
    assert not segmenter.segment_frames([PICTURE], [1], queries, strict)[0].parts


def test_objects_and_words_that_choose_among_them_are_repeated(tmp_path: Path) -> None:
    mask = np.ones((6, 20), bool)
    left, right = (
        replace(parse_query("mug handle"), text=f"{side} mug handle", which=side)
        for side in ("left", "right")
    )
    rims = [replace(RIM, text="all parts of the mug", part=part) for part in ("rim", "handle")]
    boxes = [Box(4, 10, 20, 6), Box(40, 30, 20, 6)]
    objects = tuple(ObjectMask(i, "mug", 0.9, box, mask) for i, box in enumerate(boxes, 1))
    parts = [
        PartMask(i, query, 0.9, box, mask, object_id=i)
        for i, (query, box) in enumerate(zip((left, right), boxes, strict=True), 1)
    ]
    parts += [
        PartMask(3 + i, rims[0], 0.8, boxes[0], mask, object_id=owner)
        for i, owner in enumerate((1, 1, 2))
    ]
    recorded = PartMasks(48, 64, (left, right, *rims), tuple(parts), "model", objects=objects)
    with Recorder(tmp_path / "masks") as recorder:
        header = message_encoder.header(1, "camera")
        recorder.write("/ovps/masks", message_encoder.masks(recorded, header), 1)
    segmenter = RecordedSegmenter(f"recorded:{tmp_path / 'masks'}")
    asked = [parse_query("left mug handle"), parse_query("all parts of the mug", max_parts=1)]
    queries = segmenter.encode_queries(asked)
    assert not queries.refused and [query.part for query in queries.queries] == [
        "handle",
        "rim",
        "handle",
    ]
    assert [query.label for query in queries.queries] == [
        "left mug handle",
        "mug rim",
        "mug handle",
    ]
    (masks,) = segmenter.segment_frames([PICTURE], [1], queries, SegmentOptions())
    assert [(part.query.text, part.object_id) for part in masks.parts] == [
        ("left mug handle", 1),
        ("all parts of the mug", 1),
        ("all parts of the mug", 2),  # max_parts is that of each object, as with a model
    ]
    assert [found.id for found in masks.objects] == [1, 2]


def test_what_cannot_be_answered_is_told(recording: Path, tmp_path: Path) -> None:
    segmenter = RecordedSegmenter(f"recorded:{recording}")
    queries = segmenter.encode_queries([HANDLE])
    small = np.zeros((20, 20, 3), np.uint8)
    with pytest.raises(ImageError, match="20x20 pixels; the recorded masks are of 64x48"):
        segmenter.segment_frames([small], [1], queries, SegmentOptions())
    with pytest.raises(RecordingError, match="these topics of masks: /ovps/masks"):
        RecordedSegmenter(f"recorded:{recording}:/left/masks")
    with pytest.raises(CheckpointError, match="no recording at"):
        check_recorded(f"recorded:{tmp_path}/absent")


@pytest.mark.ros
@pytest.mark.usefixtures("own_ros_domain")
def test_the_node_repeats_a_recording_over_dds(
    recording: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with NodeProcesses() as programs:
        parameters = {"model": f"recorded:{recording}", "max_age": 5.0, "object_model": "topic"}
        programs.start("ovps_ros.node", parameters, ["-r", "__node:=parrot"])
        robot = Robot("grasper")
        robot.masks = robot.listen(PartMasksMessage, "/parrot/masks")
        robot.set_queries = robot.node.create_client(SetQueries, "/parrot/set_queries")
        robot.spin_until(lambda: robot.images.get_subscription_count(), NODE_STARTS)
        assert [q.text for q in robot.ask("knife handle", "pan lid").refused] == ["pan lid"]
        found = masks_value(robot.answer(PICTURE))
        assert [part.query.text for part in found.parts] == ["knife handle"]
        np.testing.assert_array_equal(found.parts[0].mask, np.ones((6, 20), bool))
        robot.close()
    assert "object_model is not used" in capfd.readouterr().err
