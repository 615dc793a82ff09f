"""Rendered scenes become COCO files, of which categories can be held out from mask labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ovps_core.cli import main as ovps
from ovps_core.datasets.coco_objects import CocoObjects
from ovps_core.datasets.rendered_objects import MIN_PIXELS
from ovps_core.synthetic.reader import RenderedScenes

pytest.importorskip("lightning")
pytest.importorskip("mujoco")
from training.openseed.hold_out import main


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rendered")
    arguments = ["--count", "4", "--size", "96", "--out", str(folder / "scenes")]
    assert ovps(["render", *arguments, "--coco", str(folder / "coco")]) == 0
    return folder


def test_rendered_scenes_are_a_coco_file_with_exact_masks(rendered: Path) -> None:
    scenes = RenderedScenes(rendered / "scenes")
    data = CocoObjects(rendered / "coco", for_evaluation=True)
    assert len(data) == len(scenes) == 4 and data.has_masks and not data.stuff
    for index in range(4):
        sample, scene = data.read(index), scenes[index]
        np.testing.assert_array_equal(sample.image, scene.rgb)
        assert sample.masks is not None
        rows = [row for row in range(1, len(scene.instances) + 1) if (scene.objects == row).any()]
        for row, mask, label, crowd in zip(
            rows, sample.masks, sample.labels, sample.crowds, strict=True
        ):
            np.testing.assert_array_equal(mask, scene.objects == row)
            assert data.names[label] == scene.instances[row - 1][0]
            assert crowd == (mask.sum() < MIN_PIXELS)


def test_held_out_categories_keep_their_boxes_only(rendered: Path, capsys) -> None:
    file = rendered / "coco" / "annotations.json"
    whole = CocoObjects(file)
    name = whole.names[whole.read(0).labels[0]]
    assert main([str(file), name]) == 0
    parts = {
        part: CocoObjects(file.with_name(f"{part}.json")) for part in ("known", "boxes", "new")
    }
    assert set(parts["known"].names) == set(whole.names) - {name}
    assert parts["new"].names == (name,) and parts["new"].has_masks
    assert parts["boxes"].names == whole.names and not parts["boxes"].has_masks
    counts = {
        part: sum(len(data.read(index).labels) for index in range(4))
        for part, data in parts.items()
    }
    assert counts["known"] + counts["new"] == counts["boxes"] and counts["new"] > 0
    assert main([str(file), "no such category"]) == 1
    assert "no such category" in capsys.readouterr().err
