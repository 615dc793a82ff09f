"""The recipe of the packaged model: a trunk that knows ImageNet, and one command from nothing to weights."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch

from ovps_core.language.vocabulary import IGNORE
from ovps_core.models.compact.model import PartFPNConfig
from ovps_core.pipeline.postprocess.components import logit
from ovps_core.segmenter import PartSegmenter
from ovps_core.synthetic.backdrops import IGNORED

pytest.importorskip("lightning")
from training.compact import build_release
from training.compact.backbone import BACKBONE, PACKAGE, imagenet_weights, subsample_convolutions
from training.compact.calibrate import calibrate
from training.compact.data import LabelTable


def test_a_lightened_trunk_sees_the_same_and_learns_on_a_channel_mix_only() -> None:
    torch.manual_seed(0)
    trunk = timm.create_model(BACKBONE, features_only=True).eval()
    pixels = torch.randn(1, 3, 96, 64)
    before = trunk(pixels)
    subsample_convolutions(trunk)
    for ours, theirs in zip(trunk(pixels), before, strict=True):
        torch.testing.assert_close(ours, theirs)
    learning = {name for name, p in trunk.named_parameters() if p.requires_grad and p.ndim == 4}
    assert learning
    assert not any("conv_dw" in name or name.startswith("conv_stem") for name in learning)


def test_imagenet_weights_come_from_the_installed_package_and_fit_the_trunk() -> None:
    pytest.importorskip(PACKAGE)
    trunk = timm.create_model(BACKBONE, features_only=True)
    trunk.load_state_dict(imagenet_weights(BACKBONE))
    # Norms that met a million photographs: their variances differ by channel, those of a fresh network do not.
    assert trunk.bn1.running_var.std() > 0.1


def test_calibration_keeps_every_folder_within_the_false_alarms() -> None:
    def rows(absent_object: list[float], absent_part: list[float]) -> list[dict[str, float]]:
        ious = [0.3, 0.5, 0.4, 0.2]
        return [
            {"threshold": t, "mean_iou": iou, "recall": 1.0, "absent_object": o, "absent_part": p}
            for t, iou, o, p in zip(
                (0.2, 0.4, 0.6, 0.8), ious, absent_object, absent_part, strict=True
            )
        ]

    calm = rows([0.04, 0.02, 0.01, 0.0], [0.3, 0.04, 0.02, 0.01])
    assert calibrate([calm], 0.05) == pytest.approx((-logit(0.4), 0.0))
    alarmed = rows([0.3, 0.2, 0.03, 0.0], [0.3, 0.2, 0.1, 0.04])
    shift, caution = calibrate([calm, alarmed], 0.05)
    assert shift == pytest.approx(-logit(0.6))
    assert caution == pytest.approx(logit(0.8) - logit(0.6))


@pytest.mark.slow
def test_one_command_renders_trains_packs_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(PACKAGE)
    pytest.importorskip("mujoco")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("type: compact\noptim: {phases: [[1.0, 64, 4]], batch: 8}\n")
    given = [str(tmp_path), "--scenes", "64", "--minutes", "0.1", "--config", str(recipe)]
    build_release.main([*given, "--calibrate-on", "8"])
    weights = tmp_path / "tiny.safetensors"
    segmenter = PartSegmenter.from_pretrained(weights)
    assert ("knife", "handle") in segmenter.model.config.object_parts
    assert ("chair", "leg") in segmenter.model.config.object_parts
    weights.unlink()
    build_release.main([*given, "--calibrate-on", "8"])  # nothing left to render or to train
    assert weights.exists()


def test_pixels_of_unknown_content_do_not_count() -> None:
    config = PartFPNConfig(("mug",), ("handle",), (("mug", "handle"),))
    table = LabelTable.from_config(config, [("mug", "handle"), ("valve", "stem")])
    assert table.objects[[0, 1, 2, IGNORED]].tolist() == [0, 1, 0, IGNORE]
    assert table.parts[IGNORED] == table.object_parts[IGNORED] == IGNORE
