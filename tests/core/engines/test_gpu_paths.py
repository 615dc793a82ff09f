"""Preprocessing and postprocessing on a GPU equal those on the CPU; their logic runs here without a GPU."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from ovps_core.engines.calibration import calibration_images
from ovps_core.engines.chunking import pad_to_bucket, round_up_to_bucket, split
from ovps_core.engines.cuda.postprocess import occupied_maps
from ovps_core.engines.cuda.preprocess import resize_and_normalise, to_pixels_cuda
from ovps_core.models.interface import Conditions, Preprocessing
from ovps_core.pipeline.postprocess.components import SegmentOptions, part_masks
from ovps_core.pipeline.preprocess import to_pixels
from ovps_core.segmenter import PartSegmenter
from ovps_core.structures.query import PartQuery

SQUARE = Preprocessing(size=(96, 112))
LEVEL = 1 / (255 * min(SQUARE.std))


def random_conditions(names: int, pairs: int) -> Conditions:
    random = torch.Generator().manual_seed(names)
    part_index, object_index = torch.randint(0, names, (2, pairs), generator=random)
    rows = torch.arange(names, dtype=torch.float32)[:, None]
    return Conditions(
        rows, torch.arange(pairs, dtype=torch.float32)[:, None], part_index, object_index
    )


@pytest.mark.parametrize("most", [1, 2, 16])
@pytest.mark.parametrize(("names", "pairs"), [(5, 3), (40, 0), (3, 90), (70, 70), (33, 1)])
def test_chunks_hold_every_name_and_pair_and_no_more_than_fit(
    names: int, pairs: int, most: int
) -> None:
    whole = random_conditions(names, pairs)
    seen_names, seen_pairs = set(), []
    for chunk in (each.to(torch.device("cpu")) for each in split(whole, most)):
        part = chunk.conditions
        fewest = 2 if len(part.object_parts) else 1  # names of a pair
        assert 0 < len(part.names) <= max(most, fewest) and len(part.object_parts) <= most
        assert part.names[:, 0].tolist() == chunk.name_rows.tolist()
        assert part.object_parts[:, 0].tolist() == chunk.object_part_rows.tolist()
        for index, of_whole in (
            (part.part_index, whole.part_index),
            (part.object_index, whole.object_index),
        ):
            torch.testing.assert_close(chunk.name_rows[index], of_whole[chunk.object_part_rows])
        seen_names |= set(chunk.name_rows.tolist())
        seen_pairs += chunk.object_part_rows.tolist()
    assert seen_names == set(range(names)) and sorted(seen_pairs) == list(range(pairs))


def test_recorded_graphs_are_few() -> None:
    assert [round_up_to_bucket(n) for n in (0, 1, 2, 3, 4, 5, 31, 32)] == [0, 1, 2, 4, 4, 8, 32, 32]
    padded = pad_to_bucket(random_conditions(5, 3))
    assert [len(tensor) for tensor in padded.arrays()] == [8, 4, 4, 4]


@pytest.mark.parametrize("size", [(640, 480), (100, 90), (112, 96)])
def test_resizing_as_the_gpu_does_is_within_a_level_of_training(size: tuple[int, int]) -> None:
    image = np.ascontiguousarray(calibration_images([])[0][: size[1], : size[0]])
    ours = resize_and_normalise(torch.from_numpy(image), SQUARE)
    assert (ours - to_pixels(image, SQUARE)).abs().max() <= 1.01 * LEVEL


KERNEL = """
import numpy as np, torch
from ovps_core.engines.cuda import preprocess
from ovps_core.pipeline.preprocess import to_pixels
from ovps_core.models.interface import Preprocessing
for height, width in ((48, 64), (20, 30)):
    image = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    wanted = Preprocessing(size=(24, 40))
    found = preprocess._with_triton(torch.from_numpy(image), wanted)
    print((found - to_pixels(image, wanted)).abs().max().item())
"""


def test_the_kernel_s_arithmetic_in_the_interpreter() -> None:
    pytest.importorskip("triton")
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [sys.executable, "-c", KERNEL], env=environment, capture_output=True, text=True
    )
    if "0 active drivers" in run.stderr:
        pytest.skip("this Triton does not interpret without a driver")
    assert run.returncode == 0, run.stderr[-2000:]
    assert all(float(line) <= 1.01 * LEVEL for line in run.stdout.split())


@pytest.mark.parametrize("threshold", [0.5, 0.05, 0.97, 0.0, 1.0])
def test_crops_give_the_masks_of_whole_maps(threshold: float) -> None:
    random = torch.Generator().manual_seed(1)
    maps = torch.nn.functional.interpolate(
        torch.randn(2, 5, 6, 7, generator=random) * 2, (44, 60), mode="bicubic"
    )
    maps[:, 2] = -9.0
    options = SegmentOptions(
        score_threshold=0.0, mask_threshold=threshold, min_area=1, max_parts=500
    )
    level = float(torch.logit(torch.tensor(threshold)))
    queries = [PartQuery(str(i), part=str(i)) for i in range(5)]
    crops = occupied_maps(maps, level)
    for whole, cut in zip(maps.numpy(), crops, strict=True):
        expected = part_masks(whole, queries, 120, 161, options, "")
        found = part_masks(cut, queries, 120, 161, options, "")
        np.testing.assert_array_equal(found.label_image(), expected.label_image())
        np.testing.assert_allclose(
            [part.score for part in found.parts], [part.score for part in expected.parts], rtol=1e-5
        )


@pytest.mark.parametrize("side", [4, 40])
def test_small_parts_travel_in_one_buffer_and_large_ones_arrive_too(side: int) -> None:
    maps = torch.full((1, 2, 44, 60), -8.0)
    maps[0, 1, 2 : 2 + side, 5 : 5 + side] = torch.arange(side * side).view(side, side) + 1.0
    found = occupied_maps(maps, 0.0)
    np.testing.assert_array_equal(found > 0, maps.numpy() > 0)
    np.testing.assert_array_equal(found[found > 0], maps[maps > 0])
    everything_came = bool((found == maps.numpy()).all())
    assert everything_came == (side == 40)


@pytest.mark.gpu
def test_the_host_waits_once_a_frame(recwarn: pytest.WarningsRecorder) -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    segmenter = PartSegmenter.from_pretrained("ovps-tiny", device="cuda:0")
    segmenter.warm_up()
    image, encoded = calibration_images([])[0], segmenter.encode_queries(["knife handle", "mug"])
    for _ in range(3):  # a shape is warmed up, recorded, then replayed
        segmenter.query_maps([image], encoded, 4.0)
    torch.cuda.synchronize()
    recwarn.clear()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        segmenter.query_maps([image], encoded, 4.0)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len([w for w in recwarn if "synchronizing" in str(w.message)]) == 1


@pytest.mark.gpu
def test_a_frame_on_the_gpu_equals_one_on_the_cpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    image = calibration_images([])[0]
    found = to_pixels_cuda(image, SQUARE, torch.device("cuda:0")).cpu()
    assert (found - to_pixels(image, SQUARE)).abs().max() <= 1.01 * LEVEL
