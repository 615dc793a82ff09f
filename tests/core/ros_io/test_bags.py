"""Recordings in, data sets and part masks out: mcap and sqlite3, compressed or not, without ROS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from helpers.toy_models import write_toy

from ovps_core import PartSegmenter, SegmentOptions
from ovps_core.cli import main
from ovps_core.datasets.coco_folder import CocoFolder, ObjectPart
from ovps_core.errors import DatasetError
from ovps_core.pipeline.pose import parts_3d
from ovps_core.pipeline.tracking import Tracker
from ovps_core.structures.camera import CameraIntrinsics

pytest.importorskip("rosbags")

from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from ovps_core.ros_io.bags import AnnotateOptions, BagTopics, ExtractOptions, annotate, extract
from ovps_core.ros_io.bags.messages import (
    definitions_folder,
    make_message,
    message_encoder,
    typestore,
)
from ovps_core.ros_io.bags.reading import open_bag
from ovps_core.ros_io.codec import PART_MASKS, masks_value
from ovps_core.ros_io.recorded import read_answers

HEIGHT, WIDTH = 60, 80
COLOUR, DEPTH, INFO = "/camera/color/image_raw", "/camera/depth/image", "/camera/color/camera_info"
START = 1_700_000_000_000_000_000
STEP = 33_333_333
CAMERA = CameraIntrinsics(90.0, 90.0, 39.5, 29.5, WIDTH, HEIGHT)
QUERIES = "knife handle, mug rim"
# For a network that knows nothing.
UNTRAINED = SegmentOptions(score_threshold=0.0, mask_threshold=0.498)
TOPICS = BagTopics(COLOUR, DEPTH, INFO)


def picture(number: int) -> np.ndarray:
    """A smooth pattern that moves one pixel to the right per image."""
    noise = np.random.default_rng(0).integers(0, 255, (HEIGHT, 200, 3), dtype=np.uint8)
    return np.ascontiguousarray(cv2.GaussianBlur(noise, (0, 0), 2)[:, 100 - number :][:, :WIDTH])


def depth_mm(number: int) -> np.ndarray:
    depth = np.full((HEIGHT, WIDTH), 700 + number, np.uint16)
    depth[::7] = 0
    return depth


def write_bag(
    path: Path,
    storage: StoragePlugin = StoragePlugin.MCAP,
    mode: CompressionMode = CompressionMode.NONE,
    jpeg: bool = False,
    count: int = 6,
    stamps: list[int] | None = None,
) -> Path:
    """Colour, depth 4 ms later and recorded first, camera_info once."""
    writer = Writer(path, version=9, storage_plugin=storage)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    kind = "sensor_msgs/msg/CompressedImage" if jpeg else "sensor_msgs/msg/Image"
    with writer:
        types = {COLOUR: kind, DEPTH: "sensor_msgs/msg/Image", INFO: "sensor_msgs/msg/CameraInfo"}
        to = {
            topic: writer.add_connection(topic, message_type, typestore=typestore())
            for topic, message_type in types.items()
        }

        def send(topic: str, recorded: int, message: object) -> None:
            writer.write(to[topic], recorded, typestore().serialize_cdr(message, types[topic]))

        info = make_message(
            types[INFO], header=message_encoder.header(START, "optical"), height=HEIGHT, width=WIDTH,
            distortion_model="plumb_bob", d=np.zeros(5), k=CAMERA.matrix.ravel(),
            r=np.eye(3).ravel(), p=np.zeros(12), binning_x=0, binning_y=0,
            roi=make_message(
                "sensor_msgs/msg/RegionOfInterest",
                x_offset=0, y_offset=0, height=0, width=0, do_rectify=False,
            ),
        )  # fmt: skip
        send(INFO, START - 1, info)
        for number in range(count):
            stamp = START + number * STEP if stamps is None else stamps[number]
            recorded = START + number * STEP + 5_000_000
            late = message_encoder.header(START + number * STEP + 4_000_000, "optical")
            send(DEPTH, recorded, message_encoder.image(depth_mm(number), late))
            header = message_encoder.header(stamp, "optical")
            if jpeg:
                data = np.frombuffer(jpeg_of(number), np.uint8)
                message = make_message(types[COLOUR], header=header, format="jpeg", data=data)
            else:
                message = message_encoder.image(picture(number)[..., ::-1], header, "bgr8")
            send(COLOUR, recorded + 1_000_000, message)
    return path


def jpeg_of(number: int) -> bytes:
    return bytes(cv2.imencode(".jpg", picture(number)[..., ::-1])[1])


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Networks this small lose time to a second thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_toy("clipseg", tmp_path_factory.mktemp("weights") / "small.safetensors")


@pytest.fixture(scope="module")
def segmenter(model: Path) -> PartSegmenter:
    return PartSegmenter.from_pretrained(str(model))


@pytest.mark.parametrize(
    ("storage", "mode"),
    [
        (StoragePlugin.MCAP, CompressionMode.NONE),
        (StoragePlugin.MCAP, CompressionMode.STORAGE),
        (StoragePlugin.SQLITE3, CompressionMode.NONE),
        (StoragePlugin.SQLITE3, CompressionMode.FILE),
        (StoragePlugin.SQLITE3, CompressionMode.MESSAGE),
    ],
)
def test_extract_every_kind_of_recording(
    tmp_path: Path, storage: StoragePlugin, mode: CompressionMode
) -> None:
    bag = write_bag(tmp_path / "bag", storage, mode)
    manifest = extract(bag, TOPICS, tmp_path / "out")
    assert manifest["images"] == 6 and manifest["dropped"] == {}
    assert json.loads((tmp_path / "out/manifest.json").read_text()) == manifest
    for number in range(6):
        name = f"{START + number * STEP}.png"
        colour = cv2.imread(str(tmp_path / "out/frames" / name))[..., ::-1]
        np.testing.assert_array_equal(colour, picture(number))
        depth = cv2.imread(str(tmp_path / "out/depth" / name), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(depth, depth_mm(number))
    entry = json.loads((tmp_path / "out/annotations.json").read_text())["images"][0]
    assert entry["camera_k"] == CAMERA.matrix.ravel().tolist()
    assert entry["camera_p"] == [0.0] * 12 and entry["distortion_model"] == "plumb_bob"
    assert entry["frame_id"] == "optical" and entry["stamp_ns"] == START


def test_jpeg_bytes_are_copied(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", jpeg=True)
    extract(bag, BagTopics(COLOUR), tmp_path / "out", ExtractOptions(every=2))
    files = sorted((tmp_path / "out/frames").iterdir())
    assert [file.name for file in files] == [f"{START + n * STEP}.jpg" for n in (0, 2, 4)]
    assert files[1].read_bytes() == jpeg_of(2)


def test_min_motion_keeps_what_moved(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", count=9)
    manifest = extract(bag, BagTopics(COLOUR), tmp_path / "out", ExtractOptions(min_motion=3.5))
    kept = [file.stem for file in sorted((tmp_path / "out/frames").iterdir())]
    assert kept == [str(START + n * STEP) for n in (0, 4, 8)]
    assert manifest["dropped"] == {"too little motion": 6}


def test_what_has_no_partner_or_stamp_is_counted(tmp_path: Path) -> None:
    stamps = [START, 0, START, START + 3 * STEP, START + 10**9, START + 5 * STEP]
    bag = write_bag(tmp_path / "bag", stamps=stamps)
    manifest = extract(bag, TOPICS, tmp_path / "out")
    assert manifest["images"] == 3
    assert manifest["dropped"] == {
        "no stamp": 1, "stamp seen before": 1, "no depth within 0.02 s": 1
    }  # fmt: skip


@pytest.mark.parametrize("storage", list(StoragePlugin))
def test_annotated_masks_equal_direct_calls(
    tmp_path: Path, segmenter: PartSegmenter, storage: StoragePlugin
) -> None:
    bag = write_bag(tmp_path / "bag", storage)
    out = tmp_path / "masks"
    counts = annotate(bag, TOPICS, out, segmenter, QUERIES, AnnotateOptions(UNTRAINED))
    assert counts["images"] == 6 and counts["masks"] > 0
    tracker, seen = Tracker(), 0
    with open_bag(out) as reader:
        messages = [
            (connection.topic, time, reader.deserialize(raw, connection.msgtype))
            for connection, time, raw in reader.messages()
        ]
    masks = [(time, message) for topic, time, message in messages if topic == "/ovps/masks"]
    space = [message for topic, _, message in messages if topic == "/ovps/parts_3d"]
    assert len(masks) == len(space) == 6
    for number, ((time, message), parts) in enumerate(zip(masks, space, strict=True)):
        assert time == START + number * STEP + 6_000_000
        stamp = message.header.stamp
        assert stamp.sec * 10**9 + stamp.nanosec == START + number * STEP
        assert message.header.frame_id == "optical" and parts.header == message.header
        found = segmenter.segment(picture(number), QUERIES, UNTRAINED)
        direct = tracker.update(found, stamp_s=(START + number * STEP) / 1e9)
        recorded = masks_value(message)
        assert recorded.queries == direct.queries and recorded.model == direct.model
        for a, b in zip(recorded.parts, direct.parts, strict=True):
            assert (a.id, a.track_id, a.query, a.box) == (b.id, b.track_id, b.query, b.box)
            assert a.score == pytest.approx(b.score, abs=1e-6)
            np.testing.assert_array_equal(a.mask, b.mask)
        metres = np.where(depth_mm(number) == 0, np.nan, depth_mm(number) * np.float32(0.001))
        direct_3d = parts_3d(direct, metres.astype(np.float32), CAMERA)
        assert (parts.height, parts.width) == (HEIGHT, WIDTH)
        for a, b in zip(parts.parts, direct_3d, strict=True):
            np.testing.assert_array_equal(a.indices, b.indices)
            position = [a.pose.position.x, a.pose.position.y, a.pose.position.z]
            np.testing.assert_allclose(position, b.position, atol=1e-6)
            seen += 1
    assert seen == counts["parts in space"] > 0


def test_annotate_names_refused_phrases_and_looks_for_the_others(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag, words = write_bag(tmp_path / "bag"), ["--image", COLOUR, "--model", str(model)]
    command = ["bag", "annotate", str(bag), *words, "--out", str(tmp_path / "out")]
    assert main([*command, "--queries", "not the mug"]) == 1
    assert "excludes" in capsys.readouterr().err and not (tmp_path / "out").exists()
    assert main([*command, "--queries", "mug rim; not the pan"]) == 1
    assert "'not the pan' is not looked for" in capsys.readouterr().err
    assert (tmp_path / "out").is_dir(), "the others are answered"


def test_annotate_chooses_among_objects(tmp_path: Path, model: Path, capsys) -> None:
    words = ["--image", COLOUR, "--model", str(model)]
    bag = ["bag", "annotate", str(write_bag(tmp_path / "bag", count=1)), *words]
    command = [*bag, "--queries", "left mug handle"]
    for name, options in (("plain", []), ("objects", ["--objects", "own"])):
        assert main([*command, "--out", str(tmp_path / name), *options]) == 0
    asked = [
        [(query.object, query.which) for query in masks.queries]
        for name in ("plain", "objects")
        for _, masks in read_answers(tmp_path / name)
    ]
    assert asked == [[("left mug", "")], [("mug", "left")]]
    nearest = [*bag, "--queries", "nearest mug handle", "--objects", "own"]
    assert main([*nearest, "--out", str(tmp_path / "flat")]) == 1
    assert "needs depth" in capsys.readouterr().err
    assert main([*nearest, "--depth", DEPTH, "--info", INFO, "--out", str(tmp_path / "deep")]) == 0


def test_command_line_from_recording_to_data_set(tmp_path: Path, model: Path, capsys) -> None:
    bag, masks, out = write_bag(tmp_path / "bag"), tmp_path / "masks", tmp_path / "out"
    words = [
        "--image",
        COLOUR,
        "--model",
        str(model),
        "--score-threshold",
        "0",
        "--mask-threshold",
        "0.498",
    ]
    assert (
        main(["bag", "annotate", str(bag), "--queries", QUERIES, "--out", str(masks), *words]) == 0
    )
    both = tmp_path / "both"
    merge(bag, masks, both)
    words = ["--depth", DEPTH, "--info", INFO, "--masks", "/ovps/masks", "--out", str(out)]
    assert main(["bag", "extract", str(both), *words]) == 0
    assert "images" in capsys.readouterr().out
    images = json.loads((out / "annotations.json").read_text())["images"]
    assert all(image["queries"] == ["knife handle", "mug rim"] for image in images)
    with pytest.raises(DatasetError, match="pseudo-labels"):
        CocoFolder(out)
    folder = CocoFolder(out, pseudo_labels=True)
    assert folder.pseudo_labels > 0
    assert set(folder.categories) <= {ObjectPart("knife", "handle"), ObjectPart("mug", "rim")}
    segmenter = PartSegmenter.from_pretrained(str(model))
    for number, image in enumerate(folder.images):
        direct = segmenter.segment(picture(number), QUERIES, UNTRAINED)
        read = folder.masks(image, HEIGHT, WIDTH)
        assert sum(len(direct.of(query)) for query in direct.queries) == len(image.annotations)
        for category, mask in read.items():
            query = next(q for q in direct.queries if q.object == category.object)
            np.testing.assert_array_equal(mask, direct.mask_of(query))
    assert main(["bag", "extract", str(both), *words]) == 1
    assert "holds a data set already" in capsys.readouterr().err


def merge(first: Path, second: Path, out: Path) -> None:
    """Both recordings in one, one after the other, as tools that merge recordings do."""
    with Writer(out, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for path in (first, second):
            with open_bag(path) as reader:
                to = {
                    c.topic: writer.add_connection(c.topic, c.msgtype, typestore=typestore())
                    for c in reader.connections
                }
                for connection, time, raw in reader.messages():
                    writer.write(to[connection.topic], time, raw)


def test_damaged_messages_are_counted(tmp_path: Path) -> None:
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        to = writer.add_connection(COLOUR, "sensor_msgs/msg/Image", typestore=typestore())
        for number, cut in enumerate((None, 200, 6)):
            header = message_encoder.header(START + number, "optical")
            message = message_encoder.image(picture(0), header)
            data = bytes(typestore().serialize_cdr(message, "sensor_msgs/msg/Image"))
            writer.write(to, START + number, data[:cut])
        odd = message_encoder.image(
            picture(0), message_encoder.header(START + 9, "optical"), "rgb7"
        )
        writer.write(to, START + 9, typestore().serialize_cdr(odd, "sensor_msgs/msg/Image"))
    dropped = extract(tmp_path / "bag", BagTopics(COLOUR), tmp_path / "out")["dropped"]
    assert dropped["no stamp"] == 1 and dropped["damaged image message"] == 1
    assert any("rgb7" in reason for reason in dropped)


def test_wrong_recordings_and_topics_are_said(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", count=1)
    with pytest.raises(
        DatasetError, match=r"not in the recording.*/camera/color/image_raw \(sensor"
    ):
        extract(bag, BagTopics("/nothing"), tmp_path / "out")
    with pytest.raises(DatasetError, match="of type sensor_msgs/msg/CameraInfo"):
        extract(bag, BagTopics(INFO), tmp_path / "out")
    with pytest.raises(DatasetError, match="no recording at"):
        extract(tmp_path / "none", TOPICS, tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="cannot be read"):
        extract(tmp_path / "empty", TOPICS, tmp_path / "out")
    (tmp_path / "noise.mcap").write_bytes(b"noise" * 100)
    with pytest.raises(DatasetError, match="cannot be read"):
        extract(tmp_path / "noise.mcap", TOPICS, tmp_path / "out")


def test_definitions_hash_as_ros_itself_hashes_them() -> None:
    assert (definitions_folder() / "Part3D.msg").is_file()
    known = "RIHS01_a43e9fe7f6ea7bef52e8daca41cbf81a73959272378f23070ae8274a00f99be8"
    assert typestore().hash_rihs01(PART_MASKS) == known


def write_messages(path: Path, topic: str, *messages: Any) -> Path:
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        to = writer.add_connection(topic, "sensor_msgs/msg/Image", typestore=typestore())
        for number, message in enumerate(messages):
            data = typestore().serialize_cdr(message, "sensor_msgs/msg/Image")
            writer.write(to, START + number, data)
    return path


def test_a_recording_without_a_usable_image_or_depth_is_a_failure(
    tmp_path: Path, model: Path, capsys
) -> None:
    odd = message_encoder.image(picture(0), message_encoder.header(START, "optical"), "rgb7")
    queries = ["--queries", "mug rim", "--model", str(model)]
    for bag, reason in (
        (write_messages(tmp_path / "odd", COLOUR, odd), "rgb7"),
        (write_messages(tmp_path / "empty", COLOUR), "the topic has no messages"),
    ):
        for action, words in (("extract", []), ("annotate", queries)):
            out = str(tmp_path / f"{bag.name} {action}")
            command = ["bag", action, str(bag), "--image", COLOUR, "--out", out, *words]
            assert main(command) == 1
            *_, line = capsys.readouterr().err.splitlines()
            assert "not one image could be used" in line and reason in line
    bag = write_bag(tmp_path / "bag")
    late = ["--image", COLOUR, "--depth", DEPTH, "--info", INFO, "--slop", "0.001"]  # of 4 ms
    for action, words in (("extract", []), ("annotate", queries)):
        out = str(tmp_path / f"flat {action}")
        assert main(["bag", action, str(bag), *late, *words, "--out", out]) == 1
        *_, line = capsys.readouterr().err.splitlines()
        assert "not one image" in line and "no depth" in line


def test_images_without_depth_beside_others_with_it_are_no_failure(tmp_path: Path) -> None:
    stamps = [START + number * STEP + (number % 2) * STEP // 2 for number in range(6)]
    bag = write_bag(tmp_path / "bag", stamps=stamps)
    topics = ["--image", COLOUR, "--depth", DEPTH, "--info", INFO, "--slop", "0.005"]
    assert main(["bag", "extract", str(bag), *topics, "--out", str(tmp_path / "frames")]) == 0
    assert len(list((tmp_path / "frames" / "depth").glob("*.png"))) == 3
