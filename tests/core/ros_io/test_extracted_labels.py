"""Labels and pictures of an extracted data set belong together, and nobody's work is overwritten."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("rosbags")

from rosbags.rosbag2 import StoragePlugin, Writer

from ovps_core.cli import main
from ovps_core.datasets.coco_folder import CocoFolder
from ovps_core.datasets.posed_camera import PosedCamera
from ovps_core.errors import DatasetError
from ovps_core.ros_io.bags import BagTopics, ExtractOptions, extract
from ovps_core.ros_io.bags.messages import make_message, message_encoder, typestore
from ovps_core.structures.boxes import Box
from ovps_core.structures.masks import PartMask, PartMasks
from ovps_core.structures.query import PartQuery

HEIGHT, WIDTH, SECOND = 48, 64, 10**9
IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
MASKS = "ovps_ros/msg/PartMasks"
INFO, TF = "sensor_msgs/msg/CameraInfo", "tf2_msgs/msg/TFMessage"
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
    return (
        "/image",
        IMAGE,
        stamp,
        message_encoder.image(pixels, message_encoder.header(stamp, frame)),
    )


def masks(stamp: int, *queries: PartQuery, found: int = 1) -> tuple[str, str, int, Any]:
    """Masks of an image; the first queries are found."""
    parts = tuple(
        PartMask(number + 1, query, 0.9, Box(2, 2, 6, 6), np.ones((6, 6), bool))
        for number, query in enumerate(queries[:found])
    )
    value = PartMasks(HEIGHT, WIDTH, queries, parts, "model")
    return (
        "/masks",
        MASKS,
        stamp,
        message_encoder.masks(value, message_encoder.header(stamp, "camera")),
    )


def content(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "annotations.json").read_text()))


def test_masks_are_labels_of_their_own_image_only(tmp_path: Path) -> None:
    stamps = [100 * SECOND + number * SECOND // 60 for number in range(6)]
    own = stamps[::3]
    messages = [*map(image, stamps), *(masks(stamp, HANDLE) for stamp in own)]
    manifest = extract(write(tmp_path / "bag", messages), TOPICS, tmp_path / "out")
    assert [entry["stamp_ns"] for entry in content(tmp_path / "out")["images"]] == own
    assert manifest["dropped"] == {"no masks of its stamp": 4}


def test_labels_of_people_are_not_overwritten(tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", [image(SECOND)])
    table = tmp_path / "out" / "annotations.json"
    table.parent.mkdir()
    table.write_text("{}")
    with pytest.raises(DatasetError, match="holds a data set already"):
        extract(bag, BagTopics("/image"), table.parent)
    assert table.read_text() == "{}"


def test_a_data_set_may_lie_in_the_folder_of_its_recording(tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", [image(SECOND)])
    before = extract(bag, BagTopics("/image"), tmp_path / "out")["bag"]["sha256"]
    for name in ("one", "two"):
        assert extract(bag, BagTopics("/image"), bag / name)["bag"]["sha256"] == before
        assert (bag / name / "manifest.json").is_file()


@pytest.mark.parametrize(
    ("frame", "height", "reason"),
    [
        ("depth_camera", HEIGHT, "depth of another frame; --ignore-frames accepts it"),
        ("camera", HEIGHT // 2, "depth of another size than the image"),
    ],
)
def test_depth_of_another_camera_is_left_out(
    tmp_path: Path, frame: str, height: int, reason: str
) -> None:
    depth = message_encoder.image(
        np.full((height, WIDTH), 700, np.uint16), message_encoder.header(SECOND, frame)
    )
    bag = write(tmp_path / "bag", [image(SECOND), ("/depth", IMAGE, SECOND, depth)])
    topics = BagTopics("/image", "/depth")
    assert extract(bag, topics, tmp_path / "out")["dropped"] == {reason: 1}
    accepted = extract(bag, topics, tmp_path / "other", ExtractOptions(check_frames=False))
    assert accepted["images"] == (height == HEIGHT), "the size is checked all the same"


def test_the_command_line_accepts_depth_of_another_frame(tmp_path: Path) -> None:
    header = message_encoder.header(SECOND, "depth_camera")
    depth = message_encoder.image(np.full((HEIGHT, WIDTH), 700, np.uint16), header)
    bag = write(tmp_path / "bag", [image(SECOND), ("/depth", IMAGE, SECOND, depth)])
    words = [
        "bag",
        "extract",
        str(bag),
        "--image",
        "/image",
        "--depth",
        "/depth",
        "--ignore-frames",
    ]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    assert content(tmp_path / "out")["images"][0]["depth_file"]


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_a_picture_is_read_as_its_masks_lie(tmp_path: Path, orientation: int, kind: str) -> None:
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[:10, :10] = 255
    exif, file = Image.Exif(), io.BytesIO()
    exif[ORIENTATION] = orientation
    Image.fromarray(pixels).save(file, kind, exif=exif)
    header = message_encoder.header(SECOND, "camera")
    data = np.frombuffer(file.getvalue(), np.uint8)
    message = make_message(COMPRESSED, header=header, format=kind.lower(), data=data)
    bag = write(tmp_path / "bag", [("/image", COMPRESSED, SECOND, message), masks(SECOND, HANDLE)])
    extract(bag, TOPICS, tmp_path / "out")
    folder = CocoFolder(tmp_path / "out", pseudo_labels=True)
    (entry,) = folder.images
    (mask,) = folder.masks(entry, HEIGHT, WIDTH).values()
    assert folder.read(entry)[mask].mean() > 200
    copied = (tmp_path / "out" / entry.path).read_bytes() == file.getvalue()
    assert copied == (orientation == 1)


def test_depth_info_without_depth_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag = write(tmp_path / "bag", [image(SECOND)])
    words = ["bag", "annotate", str(bag), "--image", "/image", "--queries", "mug handle"]
    assert main([*words, "--depth-info", "/info", "--out", str(tmp_path / "out")]) != 0
    assert "--depth-info describes depth" in capsys.readouterr().err


def test_what_was_not_asked_of_an_image_is_not_absent_there(tmp_path: Path) -> None:
    asked = [(HANDLE, PAN), (HANDLE,), (PAN,), (HANDLE, PAN)]
    messages = []
    for number, queries in enumerate(asked, start=1):
        found = 0 if number == 4 else 1
        messages += [image(number * SECOND), masks(number * SECOND, *queries, found=found)]
    extract(write(tmp_path / "bag", messages), TOPICS, tmp_path / "out")
    folder = CocoFolder(tmp_path / "out", pseudo_labels=True)
    scored = [{category.object for category in folder.scored(each)} for each in folder.images]
    assert scored == [{"mug", "pan"}, {"mug"}, {"pan"}, {"mug", "pan"}]


def camera_info(stamp: int) -> tuple[str, str, int, Any]:
    roi = make_message(
        "sensor_msgs/msg/RegionOfInterest",
        x_offset=0, y_offset=0, height=0, width=0, do_rectify=False,
    )  # fmt: skip
    message = make_message(
        INFO, header=message_encoder.header(stamp, "camera"), height=HEIGHT, width=WIDTH,
        distortion_model="plumb_bob", d=np.zeros(5), k=np.array([60.0, 0, 31, 0, 60.0, 23, 0, 0, 1]),
        r=np.eye(3).ravel(), p=np.zeros(12), binning_x=0, binning_y=0, roi=roi,
    )  # fmt: skip
    return "/info", INFO, stamp, message


def transform(
    topic: str, stamp: int, parent: str, child: str, x: float, turn: float
) -> tuple[str, str, int, Any]:
    """A frame at x metres in its parent, turned around z by an angle in radians."""
    half = np.array([0.0, 0.0, np.sin(turn / 2), np.cos(turn / 2)])
    moved = make_message(
        "geometry_msgs/msg/Transform",
        translation=make_message("geometry_msgs/msg/Vector3", x=x, y=0.0, z=0.0),
        rotation=make_message(
            "geometry_msgs/msg/Quaternion", **dict(zip("xyzw", half, strict=True))
        ),
    )
    stamped = make_message(
        "geometry_msgs/msg/TransformStamped",
        header=message_encoder.header(stamp, parent), child_frame_id=child, transform=moved,
    )  # fmt: skip
    message = make_message(TF, transforms=[stamped])
    return topic, TF, stamp, message


def test_images_have_the_pose_of_their_camera_in_the_fixed_frame(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    start, end = 100 * SECOND, 102 * SECOND
    stamps = [start + SECOND // 2, end, end + 1]
    messages = [
        transform("/tf_static", start, "base", "camera", 0.1, 0.0),
        *(transform("/tf", t, "odom", "base", x, a) for t, x, a in ((start, 0, 0), (end, 4, 1))),
        *(message for stamp in stamps for message in (camera_info(stamp), image(stamp))),
    ]
    bag, out = write(tmp_path / "bag", messages), tmp_path / "out"
    words = ["bag", "extract", str(bag), "--fixed-frame", "odom"]
    assert main([*words, "--info", "/info", "--out", str(out)]) == 0
    assert "no camera pose: no transform from 'camera' to 'odom'" in capsys.readouterr().out
    cameras = [entry.get("camera") for entry in content(out)["images"]]
    assert cameras[2] is None, "nothing is known behind the last transform"
    for camera, x, turn in zip(cameras, (1, 4), (0.25, 1), strict=False):
        found = PosedCamera.read(camera, HEIGHT, WIDTH, "image")
        assert (found.intrinsics.fx, found.intrinsics.cx) == (60, 31)
        place = [x + 0.1 * np.cos(turn), 0.1 * np.sin(turn), 0]
        np.testing.assert_allclose(found.pose[:3, 3], place, atol=1e-9)
        np.testing.assert_allclose(found.pose[1, 0], np.sin(turn), atol=1e-9)
    with pytest.raises(DatasetError, match="image: its 'camera' cannot be used"):
        PosedCamera.read({"matrix": [1]}, HEIGHT, WIDTH, "image")
    assert main([*words, "--out", str(tmp_path / "other")]) == 1
    assert "--fixed-frame needs the camera" in capsys.readouterr().err
    words[-1] = "map"
    assert main([*words, "--info", "/info", "--out", str(tmp_path / "third")]) == 1
    assert "no frame 'map'; it has base, camera, odom" in capsys.readouterr().err
    assert not (tmp_path / "third").exists()
