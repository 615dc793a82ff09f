"""Recordings that are damaged, incomplete or of ROS 1: what can be read is kept, the rest is counted and said."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rosbags")

from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from ovps_core.cli import main
from ovps_core.errors import RecordingError
from ovps_core.ros_io.bags import BagTopics, extract
from ovps_core.ros_io.bags.messages import message_encoder, typestore

HEIGHT, WIDTH, COUNT = 120, 160, 40
START, STEP = 1_700_000_000_000_000_000, 33_333_333
TOPIC, IMAGE = "/camera/image_raw", "sensor_msgs/msg/Image"


def picture(number: int) -> np.ndarray:
    noise = np.random.default_rng(number).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return np.asarray(cv2.GaussianBlur(noise, (0, 0), 3))  # compressible, as pictures are


def write(
    path: Path, storage: StoragePlugin, mode: CompressionMode, stamps: list[int] | None = None
) -> Path:
    writer = Writer(path, version=9, storage_plugin=storage)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        to = writer.add_connection(TOPIC, IMAGE, typestore=typestore())
        for number in range(COUNT):
            stamp = stamps[number] if stamps else START + number * STEP
            message = message_encoder.image(
                picture(number), message_encoder.header(stamp, "optical")
            )
            writer.write(to, stamp, typestore().serialize_cdr(message, IMAGE))
    return path


def damage(bag: Path, share: float = 1 / 2) -> None:
    """Zeros over 4000 bytes in the middle of the largest file, or after another share of it."""
    file = max(bag.iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(file.read_bytes())
    first = round(len(data) * share)
    data[first : first + 4000] = bytes(4000)
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("storage", "mode"),
    [
        (StoragePlugin.MCAP, CompressionMode.STORAGE),
        (StoragePlugin.SQLITE3, CompressionMode.NONE),
        (StoragePlugin.SQLITE3, CompressionMode.MESSAGE),
    ],
)
def test_what_can_be_read_is_kept(
    tmp_path: Path, storage: StoragePlugin, mode: CompressionMode
) -> None:
    bag = write(tmp_path / "bag", storage, mode)
    damage(bag)
    manifest = extract(bag, BagTopics(TOPIC), tmp_path / "out")
    lost = sum(manifest["dropped"].values())
    assert 0 < lost < COUNT // 2
    assert manifest["images"] + lost == COUNT
    numbers = [
        (int(file.stem) - START) // STEP for file in sorted((tmp_path / "out/frames").iterdir())
    ]
    assert numbers[0] == 0 and numbers[-1] == COUNT - 1  # also what lies behind the damage
    for number in (numbers[0], numbers[-1]):
        name = str(tmp_path / f"out/frames/{START + number * STEP}.png")
        np.testing.assert_array_equal(cv2.imread(name)[..., ::-1], picture(number))


def test_lost_messages_are_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = write(tmp_path / "bag", StoragePlugin.MCAP, CompressionMode.STORAGE)
    damage(bag)
    assert main(["bag", "extract", str(bag), "--out", str(tmp_path / "out")]) == 0
    assert "messages in damaged places" in capsys.readouterr().out


@pytest.mark.parametrize("storage", list(StoragePlugin))
def test_a_folder_without_metadata_names_its_file(tmp_path: Path, storage: StoragePlugin) -> None:
    bag = write(tmp_path / "bag", storage, CompressionMode.NONE)
    (bag / "metadata.yaml").unlink()
    file = next(iter(bag.iterdir()))
    with pytest.raises(RecordingError, match=f"give its file instead: {file}"):
        extract(bag, BagTopics(TOPIC), tmp_path / "out")
    assert extract(file, BagTopics(TOPIC), tmp_path / "out")["images"] == COUNT


def test_a_cut_file_says_what_may_mend_it(tmp_path: Path) -> None:
    bag = write(tmp_path / "bag", StoragePlugin.MCAP, CompressionMode.NONE)
    file = next(bag.glob("*.mcap"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 6 // 10])
    with pytest.raises(RecordingError, match="mcap recover"):
        extract(bag, BagTopics(TOPIC), tmp_path / "out")


@pytest.fixture
def of_ros1(tmp_path: Path) -> Path:
    """A recording of ROS 1, in a folder of its own."""
    store = get_typestore(Stores.ROS1_NOETIC)
    (tmp_path / "folder").mkdir()
    path = tmp_path / "folder" / "old.bag"
    types = store.types
    with Ros1Writer(path) as writer:
        to = writer.add_connection(TOPIC, IMAGE, typestore=store)
        for number in range(3):
            sec, nanosec = divmod(START + number * STEP, 1_000_000_000)
            stamp = types["builtin_interfaces/msg/Time"](sec=sec, nanosec=nanosec)
            header = types["std_msgs/msg/Header"](seq=number, stamp=stamp, frame_id="optical")
            message = types[IMAGE](
                header=header, height=HEIGHT, width=WIDTH, encoding="rgb8", is_bigendian=0,
                step=3 * WIDTH, data=picture(number).ravel(),
            )  # fmt: skip
            writer.write(to, START + number * STEP, store.serialize_ros1(message, IMAGE))
    return path


def test_a_recording_of_ros_1_is_refused(tmp_path: Path, of_ros1: Path) -> None:
    renamed = tmp_path / "renamed.mcap"
    shutil.copy(of_ros1, renamed)
    for path in (of_ros1, of_ros1.parent, renamed):
        with pytest.raises(RecordingError, match="ROS 1; convert it: rosbags-convert --src"):
            extract(path, BagTopics(TOPIC), tmp_path / "out")


def test_the_conversion_that_is_advised_works(tmp_path: Path, of_ros1: Path) -> None:
    with pytest.raises(RecordingError) as refused:
        extract(of_ros1, BagTopics(TOPIC), tmp_path / "out")
    command = str(refused.value).split("convert it: ")[1].split()
    tool = Path(sys.executable).parent / command[0]
    subprocess.run([str(tool), *command[1:]], check=True)
    manifest = extract(of_ros1.parent / "old_ros2", BagTopics(TOPIC), tmp_path / "out")
    assert manifest["images"] == 3
    assert (tmp_path / f"out/frames/{START}.png").is_file()


def test_a_clock_that_jumps_behind_damage_is_followed(tmp_path: Path) -> None:
    """Simulated time near zero, then the time of day: half a century without a message."""
    late = START + np.arange(COUNT // 2) * STEP
    stamps = [*(int(stamp) - START + STEP for stamp in late), *map(int, late)]
    bag = write(tmp_path / "bag", StoragePlugin.SQLITE3, CompressionMode.NONE, stamps)
    damage(bag, 1 / 4)
    manifest = extract(bag, BagTopics(TOPIC), tmp_path / "out")
    lost = manifest["dropped"]["messages in damaged places"]
    assert 0 < lost < COUNT // 4 and manifest["images"] == COUNT - lost
    kept = {int(file.stem) for file in (tmp_path / "out/frames").iterdir()}
    assert set(map(int, late)) <= kept, "all that lies behind the jump"
