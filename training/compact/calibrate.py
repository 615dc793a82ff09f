"""Calibrated weights file from a training checkpoint: ``python -m training.compact.calibrate CKPT OUT --val DIR``.

Two numbers are fitted here, on validation scenes: how sure the model must be before it answers, and how much surer
of a composition never trained. As eager as possible, while at most the wanted share of queries about absent things
gets an answer.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tabulate import tabulate
from tqdm import tqdm

from ovps_core.checkpoints.file import CheckpointInfo, LoadedModel, save_model
from ovps_core.engines.torch_eager import EagerEngine
from ovps_core.evaluation.rendered_questions import Group, QuerySampler
from ovps_core.models.compact.model import PartFPN, PartFPNConfig
from ovps_core.models.compact.query_encoder import VocabularyEncoder
from ovps_core.pipeline.postprocess.components import SegmentOptions, logit, part_masks
from ovps_core.segmenter import PartSegmenter
from ovps_core.structures.masks import mask_iou
from ovps_core.synthetic.reader import RenderedScenes
from training.compact.module import CompactRecipe, tiny_config

COUNTED = (Group.SEEN, Group.ABSENT_OBJECT, Group.ABSENT_PART)  # unseen pairs decide nothing
THRESHOLDS = tuple(round(0.1 + 0.05 * i, 2) for i in range(17))


def sweep(
    segmenter: PartSegmenter, config: PartFPNConfig, scenes: RenderedScenes, count: int
) -> list[dict[str, float]]:
    """Of ``count`` scenes at each threshold: mean IoU and recall of what is there, false alarms otherwise."""
    known = set(config.objects)
    questioner = QuerySampler(scenes.pairs, frozenset(scenes.held_out_pairs))
    found: dict[tuple[float, Group], list[tuple[bool, float]]] = {
        (threshold, group): [] for threshold in THRESHOLDS for group in COUNTED
    }
    for index in tqdm(range(min(count, len(scenes))), desc="calibrating", unit="scene"):
        rgb, parts, _ = (np.array(array) for array in scenes.arrays(index))
        asked = [
            (question, group)
            for question in questioner.ask(parts, np.random.default_rng(index))
            for group in COUNTED
            if group in question.groups and question.query.object in known
        ]
        queries = list(dict.fromkeys(question.query for question, _ in asked))
        if not queries:
            continue
        maps = segmenter.query_maps([rgb], segmenter.encode_queries(queries))[0]
        for threshold in THRESHOLDS:
            options = SegmentOptions(
                score_threshold=0.0, mask_threshold=threshold, max_parts=10_000
            )
            result = part_masks(maps, queries, parts.shape[0], parts.shape[1], options, "")
            for question, group in asked:
                mask, truth = result.mask_of(question.query), question.truth
                iou = mask_iou(mask, truth) if truth is not None else 0.0
                found[threshold, group].append((bool(mask.any()), iou))
    means = {key: np.mean(values, axis=0) for key, values in found.items()}
    return [
        {
            "threshold": threshold,
            "mean_iou": means[threshold, Group.SEEN][1],
            "recall": means[threshold, Group.SEEN][0],
            "absent_object": means[threshold, Group.ABSENT_OBJECT][0],
            "absent_part": means[threshold, Group.ABSENT_PART][0],
        }
        for threshold in THRESHOLDS
    ]


def calibrate(
    sweeps: Sequence[Sequence[Mapping[str, float]]], false_alarms: float
) -> tuple[float, float]:
    """(shift, caution) from the sweeps over several folders, each of which must keep within the false alarms.

    The threshold is the one of the best mean IoU at which absent objects raise few enough. Parts that an object
    has not are compositions never trained: these get a threshold of their own, at least as high.
    """
    rows = [
        {
            "threshold": at_one[0]["threshold"],
            "mean_iou": sum(row["mean_iou"] for row in at_one),
            "absent_object": max(row["absent_object"] for row in at_one),
            "absent_part": max(row["absent_part"] for row in at_one),
        }
        for at_one in zip(*sweeps, strict=True)
    ]
    calm = [row for row in rows if row["absent_object"] <= false_alarms] or rows[-1:]
    threshold = max(calm, key=lambda row: row["mean_iou"])["threshold"]
    higher = [row for row in rows if row["threshold"] >= threshold]
    calm = [row for row in higher if row["absent_part"] <= false_alarms] or rows[-1:]
    cautious = calm[0]["threshold"]
    print(f"threshold {threshold}; {cautious} for compositions never trained")
    if cautious == rows[-1]["threshold"]:
        print(f"that is the highest: there may be more than {false_alarms:.1%} false alarms")
    return -logit(threshold), logit(cautious) - logit(threshold)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, calibrate, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("checkpoint", type=Path, help="last.ckpt of training.compact.module")
    parser.add_argument("out", type=Path, help="the .safetensors to write")
    parser.add_argument(
        "--val", type=Path, nargs="+", required=True, help="rendered scenes of the split val"
    )
    parser.add_argument(
        "--config", type=Path, default=Path("training/config/compact/ovps-tiny.yaml")
    )
    parser.add_argument("--name", default="ovps-tiny")
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        default=PartFPNConfig.size,
        metavar=("H", "W"),
        help="input size",
    )
    parser.add_argument("--scenes", type=int, default=256, help="validation scenes to calibrate on")
    parser.add_argument(
        "--false-alarms", type=float, default=0.045, help="most answers about absent things"
    )
    args = parser.parse_args(argv)
    config = replace(tiny_config(CompactRecipe.from_yaml(args.config)), size=tuple(args.size))
    averaged = torch.load(args.checkpoint, map_location="cpu", weights_only=False)["state_dict"]
    state = {
        key.removeprefix("model."): tensor
        for key, tensor in averaged.items()
        if key.startswith("model.")
    }
    model = PartFPN(config)
    model.load_state_dict(state)
    info = CheckpointInfo(
        args.name, "compact", config, licence="Apache-2.0", source="rendered scenes"
    )
    loaded = LoadedModel(model.eval(), VocabularyEncoder(config.vocabulary), info)
    segmenter = PartSegmenter(loaded, EagerEngine(model))
    sweeps = []
    for folder in args.val:
        sweeps.append(sweep(segmenter, config, RenderedScenes(folder), args.scenes))
        print(folder, tabulate(sweeps[-1], headers="keys", floatfmt=".3f"), sep="\n")
    shift, caution = calibrate(sweeps, args.false_alarms)
    info = replace(info, config=replace(config, shift=shift, unseen_pair_penalty=caution))
    half = {k: t.half() if t.ndim > 1 else t for k, t in model.state_dict().items()}
    info = save_model(args.out, {key: tensor.contiguous() for key, tensor in half.items()}, info)
    print(f"{info}: {args.out.stat().st_size / 1e6:.1f} MB at {args.out}")


if __name__ == "__main__":
    main()
