"""examples/segment_folder.py over pictures of the documentation."""

from __future__ import annotations

import functools
import json
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
from helpers.paths import ROOT
from pycocotools import mask as coco_mask

from ovps_core import PartSegmenter
from ovps_core.structures.image_files import load_image


def test_each_picture_gets_an_overlay_and_an_entry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures, out = tmp_path / "pictures", tmp_path / "out"
    pictures.mkdir()
    shutil.copy(ROOT / "docs" / "images" / "table.jpg", pictures)
    (pictures / "damaged.png").write_bytes(b"no picture")
    load = functools.partial(PartSegmenter.from_pretrained, backend="torch")  # builds no engine
    monkeypatch.setattr(PartSegmenter, "from_pretrained", load)
    main = runpy.run_path(str(ROOT / "examples" / "segment_folder.py"))["main"]

    main([str(pictures), str(out), "knife handle", "flurb"])

    said = capsys.readouterr()
    assert "damaged.png" in said.err and "'flurb'" in said.err
    table = load_image(ROOT / "docs" / "images" / "table.jpg")
    (answer,) = json.loads((out / "masks.json").read_text())
    assert answer["image"] == "table.jpg" and answer["refused"][0]["text"] == "flurb"
    masks = [coco_mask.decode(part["segmentation"]) for part in answer["parts"]]
    assert masks and np.max(masks, axis=0)[360, 415] == 1, "the handle of the knife"
    overlay = load_image(out / "table.jpg.png")
    assert overlay.shape == table.shape and (overlay != table).any()
