"""A run is the same run, whether it is killed and resumed or spread over processes."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.mug_pictures import recipe_file
from safetensors.torch import load_file
from torch.utils.data import TensorDataset

pytest.importorskip("lightning")
from training.report import read_curves
from training.stream import SampleStream, SeededSamples, StreamPosition, seed_of, stream_loader
from training.train import main

REPOSITORY = Path(__file__).parents[2]


def take(
    start: StreamPosition, batches: int, batch: int = 2, **options: object
) -> list[tuple[int, int]]:
    stream = SampleStream(5, batch, start, **options)  # type: ignore[arg-type]
    return list(itertools.islice(stream, batches * batch))


def test_the_stream_goes_on_where_it_stopped_and_shows_every_picture() -> None:
    whole = take(StreamPosition(seed=3), 10)
    assert take(StreamPosition(seed=3, step=4), 6) == whole[8:]
    assert sorted(index for index, _ in whole[:5]) == [0, 1, 2, 3, 4]
    assert len({seed for _, seed in whole}) == 20, "every sample is augmented anew"
    assert take(StreamPosition(seed=4), 10) != whole


def test_processes_share_the_stream_of_one_with_a_larger_batch() -> None:
    one = take(StreamPosition(seed=1), 5, batch=4)
    first, second = (
        take(StreamPosition(seed=1, rank=rank, world=2), 5, batch=2) for rank in (0, 1)
    )
    shared = [each for i in range(0, 10, 2) for each in (*first[i : i + 2], *second[i : i + 2])]
    assert shared == one


def test_weights_decide_how_often_a_picture_comes() -> None:
    drawn = take(StreamPosition(), 500, weights=[0, 0, 1, 0, 3])
    share = np.mean([index == 4 for index, _ in drawn])
    assert {index for index, _ in drawn} == {2, 4} and 0.7 < share < 0.8


def test_a_seed_decides_a_sample_and_leaves_the_generator_alone() -> None:
    class Noise(TensorDataset):
        def __getitem__(self, index: int) -> torch.Tensor:
            return torch.rand(())

    noise = SeededSamples(Noise(torch.zeros(4)))
    torch.manual_seed(0)
    expected = torch.rand(())
    torch.manual_seed(0)
    assert noise[1, seed_of(7)] == noise[1, seed_of(7)] != noise[1, seed_of(8)]
    assert torch.rand(()) == expected
    loader = stream_loader(Noise(torch.zeros(4)), 2, StreamPosition())
    assert len(list(itertools.islice(loader, 9))) == 9, "it never ends"


def command(recipe: Path, data: Path, out: Path, *options: str) -> list[str]:
    words = [sys.executable, "-m", "training.train", str(recipe), "--data", str(data)]
    return [*words, "--out", str(out), *options]


def started(words: list[str]) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    quiet = subprocess.DEVNULL
    return subprocess.Popen(
        words, cwd=REPOSITORY, env=environment, stdout=quiet, stderr=quiet, start_new_session=True
    )


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_killed_at_any_moment_goes_on_with_the_same_curve(mugs: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    augmented = {"flip": 0.5, "min_crop": 0.5, "colour_jitter": 0.3}
    optim = {"steps": 40, "ema_decay": 0.9, "accumulate": 2, "batch": 2, "score_every": 20}
    recipe = recipe_file(tmp_path, data=augmented, optim=optim)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    often = ("--checkpoint-minutes", "0")
    assert main(command(recipe, mugs, whole)[3:]) == 0

    process = started(command(recipe, mugs, killed, *often))
    checkpoint = killed / "mugs" / "last.ckpt"
    deadline = time.monotonic() + 400
    while not checkpoint.is_file() and process.poll() is None:
        assert time.monotonic() < deadline, "no checkpoint was written"
        time.sleep(0.02)
    time.sleep(random.uniform(0, 2))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    step = torch.load(checkpoint, weights_only=True)["global_step"]
    assert main(command(recipe, mugs, killed, "--resume")[3:]) == 0

    expected = load_file(whole / "mugs" / "model.safetensors")
    for name, tensor in load_file(killed / "mugs" / "model.safetensors").items():
        torch.testing.assert_close(
            tensor, expected[name], rtol=1e-4, atol=1e-6, msg=f"{name}, {step}"
        )
    before = read_curves(whole / "mugs" / "csv" / "metrics.csv")
    after = read_curves(killed / "mugs" / "csv" / "metrics.csv")
    for name in ("loss/total", "score/part_miou"):
        steps, values = after[name]
        shared = np.isin(before[name][0], steps)
        np.testing.assert_allclose(values, before[name][1][shared], rtol=1e-4)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_learn_what_one_with_the_doubled_batch_learns(
    mugs: Path, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    # L_enh takes the part with the least attention: rounding decides which one where two are close
    recipe = recipe_file(
        tmp_path, optim={"steps": 20, "batch": 4, "warmup": 1}, losses={"enhancement": 0.0}
    )
    one, two = tmp_path / "one", tmp_path / "two"
    assert main(command(recipe, mugs, one)[3:]) == 0
    words = command(recipe, mugs, two, "--devices", "2", "--set", "optim.batch=2")
    assert started(words).wait(600) == 0
    # Compared as a whole: the gradient of an attention key's bias is 0 but for rounding, which AdamW enlarges.
    expected, found = (load_file(out / "mugs" / "model.safetensors") for out in (one, two))
    weights = torch.cat([tensor.flatten() for tensor in expected.values()])
    doubled = torch.cat([found[name].flatten() for name in expected])
    assert (doubled - weights).norm() < 1e-3 * weights.norm()
    losses = [
        read_curves(out / "mugs" / "csv" / "metrics.csv")["score/loss"][1] for out in (one, two)
    ]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)
