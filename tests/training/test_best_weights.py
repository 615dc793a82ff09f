"""The best weights are those of the highest score, by unseen names where there are any."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from helpers.miniature_benchmarks import write_pascal
from helpers.mug_pictures import recipe_file

pytest.importorskip("lightning")
from ovps_core.checkpoints import load_model
from training.best_weights import BestWeights
from training.report import read_curves
from training.train import main


class _Trainer:
    global_step, is_global_zero = 0, True
    callback_metrics: dict[str, torch.Tensor]


def test_only_a_higher_score_is_written_and_a_resumed_run_remembers_it(tmp_path: Path) -> None:
    from helpers.toy_models import toy

    model, _, info = toy("compact")
    path, trainer = tmp_path / "best.safetensors", _Trainer()
    callback = BestWeights(
        path, ("score/harmonic", "score/part"), lambda: (model.state_dict(), info)
    )
    written = []
    for step, score in enumerate([0.1, 0.3, 0.2]):
        trainer.global_step = step
        trainer.callback_metrics = {"score/part": torch.tensor(score)}
        callback.on_validation_epoch_end(trainer, None)  # type: ignore[arg-type]
        callback.on_validation_end(trainer, None)  # type: ignore[arg-type]
        written.append(path.stat().st_mtime_ns)
    assert written[0] < written[1] == written[2]
    assert callback.found == ("score/part", pytest.approx(0.3), 1)
    resumed = BestWeights(path, ("score/part",), lambda: (model.state_dict(), info))
    resumed.load_state_dict(callback.state_dict())
    trainer.callback_metrics = {"score/part": torch.tensor(0.25)}
    resumed.on_validation_epoch_end(trainer, None)  # type: ignore[arg-type]
    resumed.on_validation_end(trainer, None)  # type: ignore[arg-type]
    assert path.stat().st_mtime_ns == written[1]


def test_a_benchmark_is_scored_by_seen_and_unseen_names(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    write_pascal(tmp_path)
    data = {"format": "pascal-part-116", "object": "", "val_limit": 2}
    optim = {"steps": 2, "warmup": 1, "batch": 2, "score_every": 1}
    recipe = recipe_file(tmp_path, data=data, optim=optim)
    out = tmp_path / "runs"
    words = ["--data", str(tmp_path), "--out", str(out), "--set", "score_on=val"]
    assert main([str(recipe), *words]) == 0
    curves = read_curves(out / "mugs" / "csv" / "metrics.csv")
    assert {"score/seen_miou", "score/unseen_miou", "score/harmonic_miou"} <= set(curves)
    assert load_model(out / "mugs" / "best.safetensors").info.name == "mugs"
    card = (out / "mugs" / "MODEL_CARD.md").read_text()
    assert "last weights, `model.safetensors`" in card and "Best: score/harmonic_miou " in card
