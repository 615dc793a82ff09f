"""Model card of a training run: what the model knows, what it was trained on, and how well it does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from tabulate import tabulate

from ovps_core.checkpoints.file import ModelFile
from ovps_core.datasets.coco_folder import CocoFolder
from ovps_core.evaluation.folder import evaluate_folder
from ovps_core.segmenter import PartSegmenter
from ovps_core.structures.whole_files import write_whole
from training.best_weights import BEST
from training.left_out import LEFT_OUT, LeftOut
from training.recipe import Recipe
from training.run_record import RECIPE, RunRecord, is_digest

CARD = "MODEL_CARD.md"
_FINAL = {
    "mean_iou": "final/mean IoU",
    "cumulative_iou": "final/cumulative IoU",
    "precision_50": "final/P@50",
    "false_alarm_rate": "final/false alarms",
}


def final_scores(weights: Path, folder: CocoFolder) -> dict[str, float]:
    """Scores of weights on labelled pictures, as ``ovps evaluate folder`` gives them; none that are undefined.

    Raises:
        DatasetError: the folder has nothing to score, or an annotation cannot be read.
        QueryError: the model refuses every category.
    """
    segmenter = PartSegmenter.from_pretrained(weights, backend="torch")
    metrics = vars(evaluate_folder(folder, segmenter).queries.metrics())
    scores = {text: float(metrics[name]) for name, text in _FINAL.items()}
    return {text: score for text, score in scores.items() if not math.isnan(score)}


def write_card(
    path: Path,
    weights: Path,
    recipe: Recipe,
    record: RunRecord,
    scores: Mapping[str, float],
    best: tuple[str, float, int] | None,
    left_out: LeftOut,
) -> None:
    """Write the card of a finished run.

    Args:
        path: the file.
        weights: the weights file.
        recipe: of the run.
        record: digests of the data.
        scores: of the last weights, by name.
        best: name and value of the best score, and its step; None without images to score on.
        left_out: damaged pictures and shards that were not learned.
    """
    model = ModelFile(weights)
    info, vocabulary = model.info, model.spec.vocabulary
    lines = [
        f"# {info.name}",
        "",
        f"A model of the family `{info.model}`, licence: {info.licence}.",
    ]
    command = "detect" if model.spec.detects_objects else "segment"
    lines += ["", "```", f'ovps {command} PICTURE "PHRASE" --model {weights.name}', "```", ""]
    if vocabulary is not None:
        lines += [
            f"It knows {len(vocabulary.objects)} objects: {', '.join(vocabulary.objects)}.",
            "",
        ]
    trained = ", ".join(f"{name} {part}".strip() for name, part in model.spec.trained_object_parts)
    lines += [f"Trained parts: {trained}.", ""] if trained else []
    lines += ["## Training", ""]
    facts = [("recipe", f"`{recipe.name}`, every number in `{RECIPE}`"), ("seed", recipe.seed)]
    facts += [
        ("data", f"{name}: sha256 {each[:16]}" if is_digest(each) else name)
        for name, each in ((key.split(" ", 1)[1], each) for key, each in record.data.items())
    ]
    if damaged := len(left_out.names()):
        facts += [("damaged pictures or shards left out", f"{damaged}, in `{LEFT_OUT}`")]
    facts += [("weights", f"sha256 {info.digest[:16]}")]
    lines += [tabulate(facts, headers=("", "value"), tablefmt="github"), "", "## Scores", ""]
    rows = [(name, f"{value:.4f}") for name, value in scores.items()]
    last = f"last weights, `{weights.name}`"
    lines += [tabulate(rows, headers=("score", last), tablefmt="github") if rows else "None."]
    if best:
        name, value, step = best
        lines += ["", f"Best: {name} {value:.4f} after step {step}, in `{BEST}`."]
    write_whole(path, "\n".join([*lines, ""]))
