"""Turn a training checkpoint into the packaged weights: ``python -m training.pack_tiny CKPT OUT --val DIR``.

The one number fitted here, on validation scenes, is how sure the model must be before it answers: as eager as
possible while at most the wanted share of queries about absent things gets an answer.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tabulate import tabulate
from tqdm import tqdm

from ovps_core.checkpoints.file import CheckpointInfo, save_model
from ovps_core.data.rendered.reader import RenderedScenes
from ovps_core.engine.eager import EagerEngine
from ovps_core.evaluation.rendered_questions import Group, Questioner
from ovps_core.models.tiny import TinyConfig, TinyParts
from ovps_core.postprocess import SegmentOptions, part_masks
from ovps_core.segmenter import PartSegmenter
from training.tiny import TinyRecipe, tiny_config

COUNTED = {Group.SEEN, Group.ABSENT_OBJECT, Group.ABSENT_PART}  # unseen pairs decide nothing
THRESHOLDS = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8)


def sweep(
    segmenter: PartSegmenter, config: TinyConfig, scenes: RenderedScenes, count: int
) -> list[dict[str, float]]:
    """Mean IoU, recall and false alarms over ``count`` scenes at each threshold."""
    known = set(config.objects)
    questioner = Questioner(scenes.pairs, frozenset(scenes.held_out_pairs))
    answers: dict[float, list[tuple[bool, bool, float]]] = {t: [] for t in THRESHOLDS}
    for index in tqdm(range(min(count, len(scenes))), desc="calibrating", unit="scene"):
        rgb, parts, _ = (np.array(array) for array in scenes.arrays(index))
        asked = [
            (question.query, question.truth)
            for question in questioner.ask(parts, np.random.default_rng(index))
            if COUNTED & set(question.groups) and question.query.object in known
        ]
        if not asked:
            continue
        queries = list(dict.fromkeys(query for query, _ in asked))
        maps = segmenter.query_maps([rgb], segmenter.plan(queries))[0]
        for threshold in THRESHOLDS:
            options = SegmentOptions(
                score_threshold=0.0, mask_threshold=threshold, max_parts=10_000
            )
            result = part_masks(maps, queries, parts.shape[0], parts.shape[1], options, "")
            for query, truth in asked:
                mask = result.mask_of(query)
                iou = (mask & truth).sum() / (mask | truth).sum() if truth is not None else 0.0
                answers[threshold].append((truth is not None, bool(mask.any()), float(iou)))
    rows = []
    for threshold, given in answers.items():
        present = [answer for answer in given if answer[0]]
        absent = [answer for answer in given if not answer[0]]
        rows.append(
            {
                "threshold": threshold,
                "mean_iou": float(np.mean([iou for _, _, iou in present])),
                "recall": float(np.mean([found for _, found, _ in present])),
                "false_alarm_rate": float(np.mean([found for _, found, _ in absent])),
            }
        )
    return rows


def calibrate(
    segmenter: PartSegmenter,
    config: TinyConfig,
    folders: Sequence[RenderedScenes],
    count: int,
    false_alarms: float,
) -> float:
    """The threshold of the best mean IoU at which no folder raises more false alarms than allowed."""
    sweeps = [sweep(segmenter, config, scenes, count) for scenes in folders]
    for scenes, rows in zip(folders, sweeps, strict=True):
        print(scenes.folder, tabulate(rows, headers="keys", floatfmt=".3f"), sep="\n")
    best = max(
        zip(*sweeps, strict=True),
        key=lambda rows: (
            max(false_alarms, *(row["false_alarm_rate"] for row in rows)) * -1,
            sum(row["mean_iou"] for row in rows),
        ),
    )
    return best[0]["threshold"]


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, calibrate, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help="last.ckpt of training.tiny")
    parser.add_argument("out", type=Path, help="the .safetensors to write")
    parser.add_argument(
        "--val", type=Path, nargs="+", required=True, help="rendered scenes of the split val"
    )
    parser.add_argument("--config", type=Path, default=Path("training/tiny.yaml"))
    parser.add_argument("--name", default="ovps-tiny")
    parser.add_argument(
        "--size", type=int, nargs=2, default=(192, 224), metavar=("H", "W"), help="input size"
    )
    parser.add_argument("--scenes", type=int, default=256, help="validation scenes to calibrate on")
    parser.add_argument(
        "--false-alarms", type=float, default=0.045, help="most answers about absent things"
    )
    args = parser.parse_args(argv)
    config = replace(tiny_config(TinyRecipe.from_yaml(args.config)), size=tuple(args.size))
    averaged = torch.load(args.checkpoint, map_location="cpu", weights_only=False)["state_dict"]
    state = {
        key.removeprefix("model."): tensor
        for key, tensor in averaged.items()
        if key.startswith("model.")
    }
    model = TinyParts(config)
    model.load_state_dict(state)
    info = CheckpointInfo(args.name, "tiny", config, licence="Apache-2.0", source="rendered scenes")
    segmenter = PartSegmenter(model.eval(), info, EagerEngine(model))
    folders = [RenderedScenes(folder) for folder in args.val]
    threshold = calibrate(segmenter, config, folders, args.scenes, args.false_alarms)
    info = replace(info, config=replace(config, shift=float(np.log(1 / threshold - 1))))
    half = {k: t.half() if t.ndim > 1 else t for k, t in model.state_dict().items()}
    info = save_model(args.out, {key: tensor.contiguous() for key, tensor in half.items()}, info)
    print(f"{info}: threshold {threshold}, {args.out.stat().st_size / 1e6:.1f} MB at {args.out}")


if __name__ == "__main__":
    main()
