"""Turn a training checkpoint into the packaged weights: ``python -m training.pack_tiny CKPT OUT --val DIR``.

The one number fitted here, on validation scenes, is how sure the model must be before it answers: as eager as
possible while at most the wanted share of queries about absent things gets an answer.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tabulate import tabulate
from tqdm import tqdm

from ovps_core.checkpoints.file import CheckpointInfo, save_model
from ovps_core.data.rendered.reader import RenderedScenes
from ovps_core.engine.eager import EagerEngine
from ovps_core.models.tiny import TinyParts
from ovps_core.postprocess import SegmentOptions, part_masks
from ovps_core.query import PartQuery
from ovps_core.segmenter import PartSegmenter
from training.tiny import TinyRecipe, tiny_config

THRESHOLDS = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8)
SEEN_PIXELS = 50  # of a part, for it to be asked for


def questions(
    parts: NDArray[np.uint8], pairs: list[tuple[str, str]], seed: int
) -> Iterator[tuple[PartQuery, NDArray[np.bool_]]]:
    """(query, truth) of the pairs that a scene shows, and of as many that it does not."""
    shown = {
        pairs[v - 1]: parts == v
        for v in np.unique(parts)
        if v and (parts == v).sum() >= SEEN_PIXELS
    }
    partly = {pairs[v - 1] for v in np.unique(parts) if v}
    for (name, part), truth in shown.items():
        yield PartQuery(f"{name} {part}", object=name, part=part), truth
    absent = [pair for pair in pairs if pair not in partly]
    for i in np.random.default_rng(seed).choice(len(absent), size=len(shown), replace=False):
        name, part = absent[i]
        yield PartQuery(f"{name} {part}", object=name, part=part), np.zeros(parts.shape, dtype=bool)


def sweep(segmenter: PartSegmenter, scenes: RenderedScenes, count: int) -> list[dict[str, float]]:
    """Mean IoU, recall and false alarms over ``count`` scenes at each threshold."""
    level = {name for name in segmenter.model.config.objects}  # type: ignore[union-attr]
    pairs = [pair for pair in scenes.pairs]
    hits: dict[float, list[tuple[bool, bool, float]]] = {t: [] for t in THRESHOLDS}
    for index in tqdm(range(min(count, len(scenes))), desc="calibrating", unit="scene"):
        rgb, parts, _ = scenes.arrays(index)
        asked = [(q, t) for q, t in questions(np.asarray(parts), pairs, index) if q.object in level]
        if not asked:
            continue
        queries = [query for query, _ in asked]
        maps = segmenter.query_maps([np.asarray(rgb)], segmenter.plan(queries))[0]
        for threshold in THRESHOLDS:
            options = SegmentOptions(
                score_threshold=0.0, mask_threshold=threshold, max_parts=10_000
            )
            result = part_masks(maps, queries, *parts.shape, options, "")
            for query, truth in asked:
                mask = result.mask_of(query)
                union = (mask | truth).sum()
                iou = (mask & truth).sum() / union if union else 0.0
                hits[threshold].append((bool(truth.any()), bool(mask.any()), float(iou)))
    rows = []
    for threshold, answers in hits.items():
        present = [answer for answer in answers if answer[0]]
        absent = [answer for answer in answers if not answer[0]]
        rows.append(
            {
                "threshold": threshold,
                "mean_iou": float(np.mean([iou for _, _, iou in present])),
                "recall": float(np.mean([found for _, found, _ in present])),
                "false_alarm_rate": float(np.mean([found for _, found, _ in absent])),
            }
        )
    return rows


def main() -> None:
    """Parse the command line, calibrate, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help="last.ckpt of training.tiny")
    parser.add_argument("out", type=Path, help="the .safetensors to write")
    parser.add_argument("--val", type=Path, required=True, help="rendered scenes of the split val")
    parser.add_argument("--config", type=Path, default=Path("training/config/tiny.yaml"))
    parser.add_argument("--name", default="ovps-tiny")
    parser.add_argument(
        "--size", type=int, nargs=2, default=(192, 224), metavar=("H", "W"), help="input size"
    )
    parser.add_argument("--scenes", type=int, default=256, help="validation scenes to calibrate on")
    parser.add_argument(
        "--false-alarms", type=float, default=0.045, help="most answers about absent things"
    )
    args = parser.parse_args()
    config = replace(tiny_config(TinyRecipe.from_yaml(args.config).level), size=tuple(args.size))
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
    rows = sweep(segmenter, RenderedScenes(args.val), args.scenes)
    print(tabulate(rows, headers="keys", floatfmt=".3f"))
    calm = [row for row in rows if row["false_alarm_rate"] <= args.false_alarms] or rows[-1:]
    best = max(calm, key=lambda row: row["mean_iou"])
    threshold = best["threshold"]
    info = replace(info, config=replace(config, shift=float(np.log(1 / threshold - 1))))
    half = {k: t.half() if t.ndim > 1 else t for k, t in model.state_dict().items()}
    info = save_model(args.out, {key: tensor.contiguous() for key, tensor in half.items()}, info)
    print(f"{info}: threshold {threshold}, {args.out.stat().st_size / 1e6:.1f} MB at {args.out}")


if __name__ == "__main__":
    main()
