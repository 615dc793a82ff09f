"""The recipe of the packaged model: a trunk that knows ImageNet, and one command from nothing to weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from ovps_core.language.vocabulary import IGNORE
from ovps_core.models.compact.config import PartFPNConfig
from ovps_core.pipeline.postprocess.components import logit
from ovps_core.segmenter import PartSegmenter
from ovps_core.synthetic.settings import IGNORED

pytest.importorskip("lightning")
from ovps_core.errors import CheckpointError
from training.backbone import BACKBONE, PACKAGE, imagenet_weights, subsample_convolutions
from training.compact import build_release
from training.compact.calibration import CUTS, Evidence, calibrate, summary
from training.compact.data import LabelTable
from training.compact.growth import interpolate_weights


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
    def folder(absent_peaks: list[float], present: list[tuple[float, float]]) -> list[Evidence]:
        ious = np.linspace(0, 1, len(CUTS))
        found = [Evidence(peak, True, np.abs(ious - 1 + best)) for peak, best in present]
        return found + [Evidence(peak, True, None) for peak in absent_peaks]

    sure = folder([0.05] * 100, [(0.9, 0.5)] * 10)
    alarmed = folder([0.3] * 10 + [0.1] * 90, [(0.5, 0.5), (0.2, 0.5)])
    calm = calibrate([sure], 0.05)
    both = calibrate([sure, alarmed], 0.05)
    assert calm.threshold == pytest.approx(0.05)
    assert both.threshold == pytest.approx(0.3, abs=0.01)
    config = both.apply(PartFPNConfig(("mug",), ("handle",), (("mug", "handle"),)))
    assert config.shift == pytest.approx(-logit(both.threshold))
    assert config.relative_cut == both.relative_cut


def test_object_parts_never_trained_get_a_threshold_of_their_own() -> None:
    evidence = [Evidence(0.1, True, None)] * 50 + [Evidence(0.4, False, None)] * 50
    fitted = calibrate([evidence], 0.05)
    assert fitted.threshold == pytest.approx(0.1)
    assert fitted.unseen_threshold == pytest.approx(0.4)


def test_the_cut_is_fitted_on_parts_that_get_an_answer() -> None:
    def found(peak: float, trained: bool, best: int) -> Evidence:
        return Evidence(peak, trained, np.eye(len(CUTS))[best])

    absent = [Evidence(0.1, True, None)] * 50 + [Evidence(0.4, False, None)] * 50
    # the object-part that training never showed stays below its own threshold
    evidence = [*absent, *[found(0.2, False, 0)] * 3, found(0.9, True, 5)]
    fitted = calibrate([evidence], 0.05)
    assert fitted.relative_cut == CUTS[5]
    table = summary(["photographs"], [evidence], fitted, 0.05)
    assert "25.0" in table, "mean IoU of the same answers"


def test_weights_are_interpolated_with_those_of_the_start() -> None:
    start = {"weight": torch.zeros(2), "steps": torch.tensor(3)}
    tuned = {"weight": torch.ones(2), "steps": torch.tensor(9)}
    mixed = interpolate_weights(tuned, start, 0.75)
    assert mixed["weight"].tolist() == [0.75, 0.75]
    assert mixed["steps"] == 9
    with pytest.raises(CheckpointError, match="another network"):
        interpolate_weights(tuned, {"weight": torch.zeros(3)}, 0.75)


@pytest.mark.slow
def test_one_command_renders_trains_packs_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip(PACKAGE)
    pytest.importorskip("mujoco")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("type: compact\noptim: {phases: [[1.0, 64, 4]], batch: 8}\n")
    given = [str(tmp_path), "--scenes", "64", "--minutes", "0.1", "--config", str(recipe)]
    given += ["--calibration-pictures", "2"]
    weights = tmp_path / "tiny.safetensors"
    assert build_release.main(given) == 1, "six seconds of training find nothing"
    printed = capsys.readouterr()
    assert "GB in" in printed.out and "finds nothing" in printed.err
    assert not weights.exists()
    monkeypatch.setattr("training.compact.calibrate._NOTHING", -1)
    assert build_release.main(given) == 0
    segmenter = PartSegmenter.from_pretrained(weights)
    assert segmenter.info.name == "tiny", "not the packaged model's name"
    assert ("knife", "handle") in segmenter.model.config.object_parts
    assert ("chair", "leg") in segmenter.model.config.object_parts
    card = (tmp_path / "run" / "MODEL_CARD.md").read_text()
    assert "It knows" in card and "score/part_miou" in card
    weights.unlink()
    build_release.main(given)  # nothing left to render or to train
    assert weights.exists()


def test_pixels_of_unknown_content_do_not_count() -> None:
    config = PartFPNConfig(("mug",), ("handle",), (("mug", "handle"),))
    table = LabelTable.from_config(config, [("mug", "handle"), ("valve", "stem")])
    assert table.objects[[0, 1, 2, IGNORED]].tolist() == [0, 1, 0, IGNORE]
    assert table.parts[IGNORED] == table.object_parts[IGNORED] == IGNORE
