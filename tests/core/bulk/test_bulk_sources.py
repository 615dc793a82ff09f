"""Sources of a bulk annotation: none is lost, none is read twice, and the data set is no source of itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ovps_core.bulk.annotator import Annotator, Job
from ovps_core.bulk.run import Summary, annotate_frames
from ovps_core.errors import UsageError
from ovps_core.structures.boxes import Box
from ovps_core.structures.image_files import save_image
from ovps_core.structures.masks import PartMask, PartMasks
from ovps_core.structures.query import PartQuery

HEIGHT, WIDTH = 24, 32
HANDLE = PartQuery("mug handle", "mug", "handle")


class Segmenter:
    """A stand-in that finds two handles, whose place depends on the picture."""

    name = "stand-in"

    def encode_queries(self, queries: str) -> Any:
        return SimpleNamespace(refused=())

    def segment(self, image: np.ndarray, queries: Any, options: Any) -> PartMasks:
        height, width = image.shape[:2]
        place = int(image.mean()) % 10
        found = tuple(
            PartMask(number, HANDLE, 0.9, Box(place, 8 * number, 4, 4), np.ones((4, 4), bool))
            for number in (1, 2)
        )
        return PartMasks(height, width, (HANDLE,), found, self.name)


def run(out: Path, *sources: Path) -> Summary:
    annotator = Annotator(Job(out, "mug handle"), Segmenter)  # type: ignore[arg-type]
    return annotate_frames(sources, annotator, model="m")


def pictures(folder: Path, numbers: Sequence[int]) -> Path:
    for number in numbers:
        save_image(folder / f"{number}.png", np.full((HEIGHT, WIDTH, 3), number, np.uint8))
    return folder


def content(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "annotations.json").read_text()))


def write_bag(path: Path, count: int = 3) -> Path:
    pytest.importorskip("rosbags")
    from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

    from ovps_core.ros_io.bags.messages import message_encoder, typestore

    kind = "sensor_msgs/msg/Image"
    writer = Writer(path, version=9, storage_plugin=StoragePlugin.SQLITE3)
    writer.set_compression(CompressionMode.MESSAGE, CompressionFormat.ZSTD)
    generator = np.random.default_rng(0)
    with writer:
        topic = writer.add_connection("/image", kind, typestore=typestore())
        for number in range(1, count + 1):
            stamp = number * 10**8
            pixels = generator.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            message = message_encoder.image(pixels, message_encoder.header(stamp, "camera"))
            writer.write(topic, stamp, typestore().serialize_cdr(message, kind))
    return path


def test_another_source_does_not_replace_the_data_set(tmp_path: Path) -> None:
    one, two = pictures(tmp_path / "one", [1, 2]), pictures(tmp_path / "two", [3])
    out = tmp_path / "out"
    run(out, one)
    before = content(out)
    with pytest.raises(UsageError, match="one too, and would lose it"):
        run(out, two)
    assert content(out) == before
    assert run(out, one, two).frames == 3
    with pytest.raises(UsageError, match="two too"):
        run(out, one)


def test_a_data_set_of_another_command_is_not_overwritten(tmp_path: Path) -> None:
    table = tmp_path / "out" / "annotations.json"
    table.parent.mkdir()
    table.write_text("{}")
    with pytest.raises(UsageError, match="did not make"):
        run(table.parent, pictures(tmp_path / "one", [1]))
    assert table.read_text() == "{}"


@pytest.mark.parametrize("folder", ["data/year", "data"])
def test_the_data_set_is_no_source_of_itself(tmp_path: Path, folder: str) -> None:
    source, out = tmp_path / "data", tmp_path / folder
    pictures(source / "pictures", [1, 2])
    write_bag(source / "bag")
    for _ in range(2):
        assert run(out, source).frames == 5
    assert len({image["file_name"] for image in content(out)["images"]}) == 5


def test_a_path_that_is_named_twice_is_read_once(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "one", [1, 2, 3])
    out = tmp_path / "out"
    assert run(out, folder, folder / "1.png", folder / ".." / "one").frames == 3
    bag = write_bag(tmp_path / "bag")
    (file,) = bag.glob("*.db3*")
    assert run(tmp_path / "other", bag, file).frames == 3
