"""Whatever packed data hold, a sample fits its picture and its vocabulary, or it is skipped and named."""

from __future__ import annotations

import io
import itertools
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("webdataset", reason="WebDataset is not installed (extra `train`)")
from ovps_core.datasets.benchmark_reader import LabelledImage
from ovps_core.errors import DatasetError
from ovps_core.language.vocabulary import UNKNOWN, Vocabulary
from training.shards import INDEX, Shards, ShardStream, pack
from training.stream import StreamPosition

HEIGHT, WIDTH = 12, 16
VOCABULARY = Vocabulary("mugs", ("mug",), (("mug", "handle"), ("mug", "rim")))
few = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
ODD = st.one_of(
    st.none(), st.integers(-3, 2**40), st.floats(), st.text(max_size=4),
    st.lists(st.one_of(st.text(max_size=3), st.lists(st.text(max_size=3), max_size=3)), max_size=3),
)  # fmt: skip


def encoded(suffix: str, pixels: np.ndarray) -> bytes:
    return bytes(cv2.imencode(suffix, pixels)[1])


PICTURE = encoded(".jpg", np.zeros((HEIGHT, WIDTH, 3), np.uint8))
LABELS = encoded(".png", np.ones((HEIGHT, WIDTH), np.uint16))
DAMAGED = {
    "another size": encoded(".png", np.zeros((6, 8), np.uint16)),
    "a class that is not there": encoded(".png", np.full((HEIGHT, WIDTH), 9, np.uint16)),
    "8 bits": encoded(".png", np.zeros((HEIGHT, WIDTH), np.uint8)),
    "colours": encoded(".png", np.zeros((HEIGHT, WIDTH, 3), np.uint16)),
    "no picture": b"x",
    "nothing": b"",
}


def read() -> LabelledImage:
    labels = np.zeros((HEIGHT, WIDTH), np.int32)
    return LabelledImage(np.zeros((HEIGHT, WIDTH, 3), np.uint8), labels, labels)


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    pack([read, read, read], VOCABULARY, tmp_path / "packed")
    return tmp_path / "packed"


def check(folder: Path) -> list[LabelledImage]:
    """Two rounds of samples, each of which fits."""
    shards = Shards.open(folder)
    samples = list(itertools.islice(ShardStream(shards, lambda s: s, StreamPosition(seed=1)), 4))
    for sample in samples:
        assert sample.image.shape[:2] == sample.parts.shape == sample.objects.shape
        assert sample.parts.min() >= UNKNOWN and sample.parts.max() < len(
            shards.vocabulary.object_parts
        )
        assert sample.objects.min() >= UNKNOWN and sample.objects.max() < len(
            shards.vocabulary.objects
        )
    return samples


@pytest.mark.parametrize("kind", DAMAGED)
@pytest.mark.parametrize("file", ["parts.png", "objects.png"])
def test_a_label_map_that_does_not_fit_is_skipped_and_named(
    kind: str, file: str, packed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (shard,) = packed.glob("*.tar")
    with tarfile.open(shard, "w") as archive:
        for number, labels in enumerate((LABELS, DAMAGED[kind])):
            sample = {"jpg": PICTURE, "parts.png": LABELS, "objects.png": LABELS, file: labels}
            for name, data in sample.items():
                entry = tarfile.TarInfo(f"{number:09d}.{name}")
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    assert check(packed)
    assert "000000001: a label map of a shard" in capsys.readouterr().err


@few
@given(data=st.data())
def test_changed_bytes_are_skipped_or_refused_with_the_folder(
    packed: Path, tmp_path: Path, data: st.DataObject
) -> None:
    folder = tmp_path / "changed"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(packed, folder)
    file = data.draw(st.sampled_from(sorted(folder.iterdir())))
    content = bytearray(file.read_bytes())
    for _ in range(data.draw(st.integers(0, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(content))) if data.draw(st.booleans()) else len(content)
    file.write_bytes(content[:end])
    try:
        check(folder)
    except DatasetError as error:
        assert str(folder) in str(error)


@few
@given(data=st.data())
def test_an_index_with_a_changed_value(packed: Path, data: st.DataObject) -> None:
    content: Any = json.loads(json.dumps({"name": "mugs", "objects": ["mug"], "count": 3}))
    content["object_parts"] = [["mug", "handle"], ["mug", "rim"]]
    content[data.draw(st.sampled_from(sorted(content)))] = data.draw(ODD)
    (packed / INDEX).write_text(json.dumps(data.draw(st.one_of(st.just(content), ODD))))
    try:
        check(packed)
    except DatasetError as error:
        assert str(packed) in str(error)
