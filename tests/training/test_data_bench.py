"""The input pipeline is measured apart from the network, and its memory does not grow with the pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.mug_pictures import recipe_file
from helpers.object_pictures import write_pictures
from helpers.part_images import part_images

pytest.importorskip("webdataset", reason="WebDataset is not installed (extra `train`)")
pytest.importorskip("psutil", reason="psutil is not installed (extra `bench`)")
from ovps_core.datasets.benchmark_reader import LabelledImage
from ovps_core.language.vocabulary import Vocabulary
from training.data import open_data
from training.data_bench import measure_input
from training.data_command import main
from training.recipe import DataRecipe
from training.shards import pack


def test_memory_stays_flat_over_repeated_shards(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    random = np.random.default_rng(0)

    def read() -> LabelledImage:
        labels = np.zeros((64, 64), np.int32)
        return LabelledImage(random.integers(0, 255, (64, 64, 3), np.uint8), labels, labels)

    vocabulary = Vocabulary("mugs", ("mug",), (("mug", "rim"),))
    pack([read] * 40, vocabulary, tmp_path / "shards", shard_megabytes=0.05)
    recipe = DataRecipe(format="shards", colour_jitter=0)
    images = part_images(open_data(recipe, tmp_path / "shards"), recipe, (64, 64), batch=8)
    speed = measure_input(images, 8, 0, 3000)
    assert speed.images == 3000 and speed.images_per_second > 0
    first, _, last = speed.memory_mb
    # 2,700 pictures with their labels would be 220 MB
    assert last < first + 30


def test_the_command_prints_a_row_for_each_number_of_workers(
    mugs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.set_num_threads(1)
    recipe = str(recipe_file(tmp_path))
    assert main(["bench", recipe, "--data", str(mugs), "--workers", "0", "1", "--images", "8"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[:2] for row in rows[2:4]] == [["0", "40"], ["1", "40"]]

    files = [write_pictures(tmp_path / "objects"), write_pictures(tmp_path / "objects", "b")]
    arguments = ["openseed-overfit", "--data", *map(str, files), "--workers", "0", "--step"]
    assert main(["bench", *arguments, "--images", "8", "--set", "optim.batch=1"]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[2].split()[:2] == ["0", "20"] and "a step of" in printed
