"""Calibrated weights file from a training checkpoint: ``python -m training.compact.calibrate CKPT OUT --val DIR``.

Two numbers are fitted on validation scenes. One is the confidence that the model needs before it answers.
The other is how much more it needs for an object-part that training never showed. Both are as low as
possible, while at most a given share of the queries about absent things gets an answer.
"""

from __future__ import annotations

import argparse
import pickle
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from tabulate import tabulate
from torch import Tensor
from tqdm import tqdm

from ovps_core.checkpoints.file import CheckpointInfo, LoadedModel, save_model
from ovps_core.engines.torch_eager import EagerEngine
from ovps_core.errors import CheckpointError, ConfigError, OvpsError
from ovps_core.evaluation.query_sampler import Group, QuerySampler
from ovps_core.models.compact.model import PartFPN, PartFPNConfig
from ovps_core.models.compact.query_encoder import VocabularyEncoder
from ovps_core.pipeline.postprocess.components import SegmentOptions, logit, part_masks
from ovps_core.segmenter import PartSegmenter
from ovps_core.structures.masks import mask_iou
from ovps_core.synthetic.reader import RenderedScenes
from training.compact.module import network_config
from training.compact.recipe import CompactRecipe
from training.families import load_recipe

COUNTED = (Group.SEEN, Group.ABSENT_OBJECT, Group.ABSENT_PART)  # held-out object-parts do not count
THRESHOLDS = tuple(round(0.1 + 0.05 * i, 2) for i in range(17))
FALSE_ALARMS = 0.045


def load_compact_recipe(path: Path | str) -> CompactRecipe:
    """The compact model's recipe in a file.

    Raises:
        ConfigError: the recipe cannot be read, or is one of another type.
    """
    recipe = load_recipe(path)
    if not isinstance(recipe, CompactRecipe):
        raise ConfigError(f"{path} has the type {recipe.family}, expected {CompactRecipe.family}")
    return recipe


def load_weights(checkpoint: Path) -> dict[str, Tensor]:
    """The (averaged) weights of the network in a Lightning checkpoint; no code in the file is run.

    Raises:
        CheckpointError: no such file, or it holds other things than tensors and plain values.
    """
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
        state = content["state_dict"]
    except OSError as error:
        raise CheckpointError(f"cannot read {checkpoint}: {error.strerror}") from error
    except (KeyError, TypeError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"{checkpoint} is not a training checkpoint that holds only tensors and plain values"
        ) from error
    prefix = "model."
    return {
        key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)
    }


def sweep(
    segmenter: PartSegmenter, config: PartFPNConfig, scenes: RenderedScenes, count: int
) -> list[dict[str, float]]:
    """Scores of ``count`` scenes at each of ``THRESHOLDS``.

    Returns:
        One row per threshold: the threshold, mean IoU and recall of visible parts, and the shares of
        queries about absent objects and absent parts that got an answer.
    """
    known = set(config.objects)
    sampler = QuerySampler(scenes.object_parts, frozenset(scenes.held_out_object_parts))
    found: dict[tuple[float, Group], list[tuple[bool, float]]] = {
        (threshold, group): [] for threshold in THRESHOLDS for group in COUNTED
    }
    for index in tqdm(range(min(count, len(scenes))), desc="calibrating", unit="scene"):
        rgb, parts, _ = (np.array(array) for array in scenes.arrays(index))
        sampled = [
            (sample, group)
            for sample in sampler.sample(parts, np.random.default_rng(index))
            for group in COUNTED
            if group in sample.groups and sample.query.object in known
        ]
        queries = list(dict.fromkeys(sample.query for sample, _ in sampled))
        if not queries:
            continue
        encoded = segmenter.encode_queries(queries)
        maps = segmenter.query_maps([rgb], encoded)[0]
        for threshold in THRESHOLDS:
            options = SegmentOptions(
                score_threshold=0.0, mask_threshold=threshold, max_parts=10_000
            )
            result = part_masks(maps, encoded.queries, parts.shape[0], parts.shape[1], options, "")
            for sample, group in sampled:
                mask, truth = result.mask_of(sample.query), sample.truth
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
    """(shift, penalty of object-parts never trained), both added to a query's logit, from sweeps.

    The threshold is the one with the best mean IoU among those at which few enough absent objects get an
    answer. Parts that an object does not have are object-parts never trained: they get a threshold of
    their own, which is at least as high.

    Args:
        sweeps: rows of :func:`sweep` for several folders; each must keep within the false alarms.
        false_alarms: maximum share of answers to queries about absent things.
    """
    rows = [
        {
            "threshold": same_threshold[0]["threshold"],
            "mean_iou": sum(row["mean_iou"] for row in same_threshold),
            "absent_object": max(row["absent_object"] for row in same_threshold),
            "absent_part": max(row["absent_part"] for row in same_threshold),
        }
        for same_threshold in zip(*sweeps, strict=True)
    ]
    allowed = [row for row in rows if row["absent_object"] <= false_alarms] or rows[-1:]
    threshold = max(allowed, key=lambda row: row["mean_iou"])["threshold"]
    higher = [row for row in rows if row["threshold"] >= threshold]
    allowed = [row for row in higher if row["absent_part"] <= false_alarms] or rows[-1:]
    unseen_threshold = allowed[0]["threshold"]
    print(f"threshold {threshold}; {unseen_threshold} for object-parts never trained")
    if unseen_threshold == rows[-1]["threshold"]:
        print(f"that is the highest one: there may be more than {false_alarms:.1%} false alarms")
    return -logit(threshold), logit(unseen_threshold) - logit(threshold)


def write_calibrated(
    checkpoint: Path,
    out: Path,
    val: Sequence[Path],
    recipe: CompactRecipe,
    *,
    name: str = "ovps-tiny",
    size: tuple[int, int] = PartFPNConfig.size,
    scenes: int = 256,
    false_alarms: float = FALSE_ALARMS,
) -> CheckpointInfo:
    """Calibrate a trained network and write its weights in 16 bits.

    Args:
        checkpoint: Lightning checkpoint of a run.
        out: the ``.safetensors`` file to write.
        val: folders of rendered scenes of the split val.
        recipe: the run's recipe.
        name: name of the model.
        size: (height, width) of the network's input, pixels.
        scenes: number of scenes per folder.
        false_alarms: see :func:`calibrate`.

    Raises:
        CheckpointError: the checkpoint cannot be read.
        DatasetError: a folder holds no rendered scenes.
    """
    config = replace(network_config(recipe), size=size)
    model = PartFPN(config)
    model.load_state_dict(load_weights(checkpoint))
    info = CheckpointInfo(name, "compact", config, licence="Apache-2.0", source="rendered scenes")
    loaded = LoadedModel(model.eval(), VocabularyEncoder(config.vocabulary), info)
    segmenter = PartSegmenter(loaded, EagerEngine(model))
    sweeps = []
    for folder in val:
        sweeps.append(sweep(segmenter, config, RenderedScenes(folder), scenes))
        print(folder, tabulate(sweeps[-1], headers="keys", floatfmt=".3f"), sep="\n")
    shift, penalty = calibrate(sweeps, false_alarms)
    info = replace(info, config=replace(config, shift=shift, unseen_pair_penalty=penalty))
    state = {
        key: (value.half() if value.ndim > 1 else value).contiguous()
        for key, value in model.state_dict().items()
    }
    info = save_model(out, state, info)
    print(f"{info}: {out.stat().st_size / 1e6:.1f} MB at {out}")
    return info


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description="Calibrate a trained compact model and write its weights file.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("checkpoint", type=Path, help="last.ckpt in a run's folder")
    parser.add_argument("out", type=Path, help="the .safetensors file to write")
    parser.add_argument(
        "--val", type=Path, nargs="+", required=True, help="rendered scenes of the split val"
    )
    parser.add_argument(
        "--recipe", help="recipe of the run; without it, recipe.yaml beside the checkpoint"
    )
    parser.add_argument("--name", default="ovps-tiny", help="name of the model")
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        default=PartFPNConfig.size,
        metavar=("H", "W"),
        help="input size, pixels",
    )
    parser.add_argument("--scenes", type=int, default=256, help="validation scenes per folder")
    parser.add_argument(
        "--false-alarms",
        type=float,
        default=FALSE_ALARMS,
        help="maximum share of answers to queries about absent things",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; an error that a person can act on is one line on stderr."""
    args = _parser().parse_args(arguments)
    try:
        write_calibrated(
            args.checkpoint,
            args.out,
            args.val,
            load_compact_recipe(args.recipe or args.checkpoint.with_name("recipe.yaml")),
            name=args.name,
            size=(args.size[0], args.size[1]),
            scenes=args.scenes,
            false_alarms=args.false_alarms,
        )
    except OvpsError as error:
        print(f"calibrate: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
