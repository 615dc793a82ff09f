"""One training run: from a recipe and data to weights, curves and a model card in the run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import lightning as L
import yaml

from ovps_core.checkpoints import CheckpointInfo, save_model
from ovps_core.errors import UsageError
from ovps_core.structures.whole_files import write_whole
from training.best_weights import BestWeights
from training.families import FAMILIES
from training.left_out import LEFT_OUT
from training.model_card import CARD, final_scores, write_card
from training.recipe import Recipe, as_dict
from training.report import (
    Curve,
    first_and_last,
    join_curves,
    plot_curves,
    read_curves,
    set_aside_curves,
)
from training.run import LAST, DataSources, LastScore, Launch, TrainingRun, make_trainer
from training.run_record import RECIPE, RunRecord, check_checkpoint

WEIGHTS = "model.safetensors"
"""Weights file in a run's folder."""

_NOTHING = 0.01  # scores below it mean that the network finds nothing


def train_model(
    recipe: Recipe,
    sources: DataSources,
    folder: Path,
    *,
    resume: bool = False,
    launch: Launch | None = None,
) -> dict[str, float]:
    """Train one model; the weights are written to ``folder/model.safetensors``.

    Args:
        recipe: every number of the run.
        sources: the data.
        folder: the run's folder: weights, recipe, curves, logs and checkpoints.
        resume: continue from the folder's last checkpoint.
        launch: devices and machines; all GPUs of this one without it.

    Returns:
        The last scores by name; empty if there is no image to score on, or the run was finished already.

    Raises:
        UsageError: there is nothing to resume, or it had another recipe or other data; the folder has a run that
            is not resumed; or the family takes other sources. Nothing is overwritten.
        OutputError: the disk is full.
        DatasetError: data are missing or malformed.
        CheckpointError: the weights or the checkpoint to start from are missing or damaged.
    """
    last = folder / LAST
    _check_resumable(last) if resume else _check_new(folder)
    L.seed_everything(recipe.seed, workers=True, verbose=False)
    prepared = FAMILIES[recipe.family].prepare(recipe, sources)
    record = RunRecord.of(recipe, sources, prepared.result()[1])
    if resume and record.is_finished_in(folder):
        print(f"{folder} is finished: nothing is left to train. Its weights are in {WEIGHTS}")
        return {}
    record.write(folder)
    prepared.left_out.keep_in(folder / LEFT_OUT, resume=resume)
    write_whole(folder / RECIPE, yaml.safe_dump(as_dict(recipe), sort_keys=False))
    last_score = LastScore(outdated=resume)
    trainer = make_trainer(prepared, folder, recipe.seed, launch or Launch(), last_score)
    metrics = folder / "csv" / "metrics.csv"
    earlier = set_aside_curves(metrics) if resume and trainer.is_global_zero else {}
    trainer.fit(
        prepared.module, prepared.images, ckpt_path=last if resume else None, weights_only=True
    )
    if prepared.scored_on and last_score.outdated:
        trainer.validate(prepared.module, prepared.images, verbose=False)
    logged = trainer.callback_metrics.items()
    scores = {name: float(value) for name, value in logged if name.startswith("score/")}
    if trainer.is_global_zero:
        if prepared.scored_finally is not None:
            _save(prepared, folder)
            scores |= final_scores(folder / WEIGHTS, prepared.scored_finally)
        later = read_curves(metrics) if metrics.is_file() else {}
        _write_results(prepared, folder, scores, join_curves(earlier, later))
        best = next((c.found for c in trainer.callbacks if isinstance(c, BestWeights)), None)  # type: ignore[attr-defined]
        write_card(folder / CARD, folder / WEIGHTS, recipe, record, scores, best, prepared.left_out)
        record.write(folder, finished=True)
    return scores


def _check_new(folder: Path) -> None:
    """Check that no run is overwritten. One without weights or a checkpoint has nothing to lose."""
    if (folder / LAST).is_file():
        raise UsageError(
            f"{folder} holds a run already; continue it with --resume, or give another folder with --out"
        )
    if (folder / WEIGHTS).is_file():
        raise UsageError(f"{folder} has a {WEIGHTS} already; give another folder with --out")


def _check_resumable(last: Path) -> None:
    if not last.is_file():
        raise UsageError(f"nothing to resume: {last} does not exist; leave out --resume")
    check_checkpoint(last)


def _write_results(
    prepared: TrainingRun, folder: Path, scores: Mapping[str, float], curves: Mapping[str, Curve]
) -> None:
    """Write weights, curves and pictures to the run's folder and print a summary."""
    info = _save(prepared, folder)
    shown = {name: curves[name] for name in prepared.curves if name in curves}
    if shown:
        plot_curves(shown, folder / "curves.png")
    for name, curve in shown.items():
        if name.startswith("loss/"):
            first, last = first_and_last(curve)
            print(f"{name:<18} first {first:.4f}  last {last:.4f}")
    for name, value in scores.items():
        images = "val" if name.startswith("final/") else prepared.scored_on
        print(f"{name:<28} {value:.4f}  (on the {images} images)")
    mious = [value for name, value in scores.items() if "miou" in name]
    if mious and max(mious) < _NOTHING:
        print(
            "These scores mean that the network finds nothing. Train longer, or look at the labels."
        )
    if left_out := prepared.left_out.names():
        print(f"damaged pictures or shards left out: {len(left_out)}, in {folder / LEFT_OUT}")
    print(f"{info} in {folder}")


def _save(prepared: TrainingRun, folder: Path) -> CheckpointInfo:
    tensors, info = prepared.result()
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return save_model(folder / WEIGHTS, state, info)
