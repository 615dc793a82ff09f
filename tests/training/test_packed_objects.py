"""An OpenSeeD learns from packed objects as from their COCO file; damaged samples are skipped and named."""

from __future__ import annotations

import io
import itertools
import json
import tarfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from helpers.object_pictures import SIZE, write_pictures

pytest.importorskip("webdataset", reason="WebDataset is not installed (extra `train`)")
from ovps_core.datasets.coco_objects import CocoObjects
from ovps_core.errors import DatasetError
from ovps_core.models.interface import Preprocessing
from training.data_command import main
from training.openseed.data import ObjectCropsModule
from training.openseed.recipe import DataRecipe
from training.openseed.shards import ObjectShards, pack_objects
from training.shards import Shards, ShardStream
from training.stream import StreamPosition
from training.train import main as train

PLAIN = Preprocessing((SIZE, SIZE), (0, 0, 0), (1, 1, 1))


def stream(shards: ObjectShards) -> ShardStream:
    return ShardStream(shards, lambda sample: sample, StreamPosition(seed=1))


@pytest.mark.parametrize("boxes_only", [False, True])
def test_what_was_packed_is_streamed(boxes_only: bool, tmp_path: Path) -> None:
    data = CocoObjects(write_pictures(tmp_path, boxes_only=boxes_only))
    counts = pack_objects(data, tmp_path / "packed", shard_megabytes=0.001)
    assert counts["pictures"] == 4 and counts["shards"] >= 2
    shards = ObjectShards.open(tmp_path / "packed")
    assert (shards.names, shards.things) == (data.names, data.things)
    assert shards.has_masks is not boxes_only
    expected = {sample.boxes.tobytes(): sample for sample in map(data.read, range(4))}
    found = list(itertools.islice(stream(shards), 4))
    assert {sample.boxes.tobytes() for sample in found} == set(expected)
    for sample in found:
        true = expected[sample.boxes.tobytes()]
        assert np.array_equal(sample.labels, true.labels)
        assert np.array_equal(sample.areas, true.areas)
        assert not sample.crowds.any() and not sample.pseudo.any()
        if true.masks is None or sample.masks is None:
            assert sample.masks is true.masks is None
        else:
            assert np.array_equal(sample.masks, true.masks)
        assert np.abs(sample.image - true.image.astype(int)).mean() < 8, "a JPEG of noise"


DAMAGED = {
    "no text": b"\xff",
    "no objects": b"{}",
    "a name that is not there": {"labels": [3]},
    "a name too many": {"labels": [0, 1]},
    "a box without an end": {"boxes": [[1, 2, 3]]},
    "a box without a number": {"boxes": [[1, 2, float("nan"), 4]]},
    "a mask of another size": {"masks": [{"size": [2, 2], "counts": [0, 4]}]},
    "no mask": {"masks": []},
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_sample_is_skipped_and_named(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack_objects(CocoObjects(write_pictures(tmp_path)), tmp_path / "packed")
    intact: dict[str, Any] = {"labels": [0], "boxes": [[1, 2, 3, 4]], "pseudo": [False]}
    intact["masks"] = [{"size": [SIZE, SIZE], "counts": [0, SIZE * SIZE]}]
    damaged = DAMAGED[kind]
    contents = [json.dumps(intact).encode()]
    contents.append(
        json.dumps({**intact, **damaged}).encode() if isinstance(damaged, dict) else damaged
    )
    picture = bytes(cv2.imencode(".jpg", np.zeros((SIZE, SIZE, 3), np.uint8))[1])
    with tarfile.open(tmp_path / "packed" / "shard-000000.tar", "w") as archive:
        for number, content in enumerate(contents):
            for name, data in {"jpg": picture, "json": content}.items():
                entry = tarfile.TarInfo(f"{number:09d}.{name}")
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
    for sample in itertools.islice(stream(ObjectShards.open(tmp_path / "packed")), 2):
        assert sample.labels.tolist() == [0]
    assert "000000001" in capsys.readouterr().err


def test_packed_data_of_another_type_are_refused(tmp_path: Path) -> None:
    pack_objects(CocoObjects(write_pictures(tmp_path)), tmp_path / "packed")
    with pytest.raises(DatasetError, match="not the index of packed data of this type"):
        Shards.open(tmp_path / "packed")


def test_pseudo_labels_are_refused_in_packed_data_too(tmp_path: Path) -> None:
    pack_objects(CocoObjects(write_pictures(tmp_path)), tmp_path / "packed")
    index = tmp_path / "packed" / "index.json"
    index.write_text(json.dumps({**json.loads(index.read_text()), "pseudo_labels": 3}))

    def module(recipe: DataRecipe) -> ObjectCropsModule:
        return ObjectCropsModule(
            [index.parent], None, recipe, PLAIN, batch=1, seed=0, score_on_train=True
        )

    with pytest.raises(DatasetError, match="3 annotations"):
        module(DataRecipe(size=SIZE))
    assert module(DataRecipe(size=SIZE, pseudo_labels=True)).scored is None


def test_commands_pack_objects_and_a_run_learns_from_packed_and_other_data(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.set_num_threads(1)
    data = write_pictures(tmp_path)
    boxes = write_pictures(tmp_path, "boxes", boxes_only=True)
    (tmp_path / "boxes" / "1.png").write_bytes(b"cut")
    packed = tmp_path / "packed"
    assert main(["pack", "openseed-overfit", "--data", str(data), "--out", str(packed)]) == 0
    assert f"train on it with --data {packed}\n" in capsys.readouterr().out
    arguments = ["--data", str(packed), str(boxes), "--val", str(data), "--out", str(tmp_path)]
    few = ["--set", "optim.batch=2", "optim.steps=2", "score_on=val"]
    assert train(["openseed-overfit", *arguments, *few]) == 0
    run = tmp_path / "openseed-overfit"
    assert (run / "best.safetensors").is_file()
    assert "1.png" in (run / "left_out.txt").read_text()
    assert "shards left out | 1, in" in (run / "MODEL_CARD.md").read_text()
    assert "shards left out: 1, in" in capsys.readouterr().out
