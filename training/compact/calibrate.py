"""Calibrated weights file from a training checkpoint: ``python -m training.compact.calibrate CKPT OUT --val DIR``.

What is fitted is in :mod:`training.compact.calibration`.
"""

from __future__ import annotations

import argparse
import pickle
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ovps_core.checkpoints.file import CheckpointInfo, LoadedModel, load_model, save_model
from ovps_core.cli import HelpFormatter
from ovps_core.engines.torch_eager import EagerEngine
from ovps_core.errors import CheckpointError, ConfigError, OvpsError
from ovps_core.models.compact.model import PartFPN
from ovps_core.models.compact.query_encoder import VocabularyEncoder
from ovps_core.segmenter import PartSegmenter
from training.compact.calibration import (
    calibrate,
    collect,
    mean_ious,
    summary,
    uncalibrated,
    usual_confidence,
)
from training.compact.growth import interpolate_weights
from training.compact.module import network_config
from training.compact.recipe import CompactRecipe
from training.families import load_recipe

FALSE_ALARMS = 0.045
SIZE = (320, 384)
"""Input size (height, width) of the packaged model, pixels."""
_NOTHING = 0.02  # mean IoU below which a network counts as untrained


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


def load_trained(
    checkpoint: Path,
    recipe: CompactRecipe,
    *,
    name: str,
    size: tuple[int, int] = SIZE,
    tta: bool = True,
    source: str = "rendered scenes",
    start: Path | None = None,
    share: float = 0.8,
) -> LoadedModel:
    """The network of a training checkpoint, without calibration.

    Args:
        checkpoint: Lightning checkpoint of a run.
        recipe: the run's recipe.
        name: name of the model.
        size: (height, width) of the network's input, pixels.
        tta: test-time augmentation: average with the answer to the mirrored picture at half the size.
        source: what the network was trained on, for the file's header.
        start, share: see :func:`interpolate_weights`; None for the trained weights alone.

    Raises:
        CheckpointError: a file cannot be read, or is of another network.
    """
    config = uncalibrated(network_config(recipe))
    config = replace(config, size=size, flip_tta=tta, half_scale=tta)
    model = PartFPN(config)
    weights = load_weights(checkpoint)
    if start is not None:
        weights = interpolate_weights(weights, load_model(start).model.state_dict(), share)
    model.load_state_dict(weights)
    info = CheckpointInfo(name, "compact", config, licence="Apache-2.0", source=source)
    return LoadedModel(model.eval(), VocabularyEncoder(config.vocabulary, config.synonyms), info)


def write_calibrated(
    loaded: LoadedModel,
    out: Path,
    val: Sequence[Path],
    *,
    pictures: int = 256,
    false_alarms: float = FALSE_ALARMS,
) -> CheckpointInfo:
    """Calibrate a trained network and write its weights in 16 bits.

    Args:
        loaded: the network without calibration, from :func:`load_trained`.
        out: the ``.safetensors`` file to write.
        val: folders of rendered scenes of the split val, or of labelled photographs.
        pictures: number of pictures per folder.
        false_alarms: see :func:`training.compact.calibration.calibrate`.

    Raises:
        CheckpointError: the network finds nothing; no file is written.
        DatasetError: a folder holds neither rendered scenes nor labelled photographs.
    """
    model, config = loaded.model, loaded.info.config
    segmenter = PartSegmenter(loaded, EagerEngine(model))
    found = [collect(segmenter, config, folder, pictures) for folder in val]
    evidence = [each.evidence for each in found]
    fitted = calibrate(evidence, false_alarms)
    names = [folder.name for folder in val]
    print(fitted, summary(names, evidence, fitted, false_alarms), sep="\n")
    if max(mean_ious(each, fitted).max() for each in evidence) < _NOTHING:
        raise CheckpointError(
            f"{loaded.info.name} finds nothing on {', '.join(map(str, val))}, so {out} is not written; train it "
            "longer"
        )
    usual = usual_confidence(found)
    print(f"confidence on 95% of the pictures: {usual} or more")
    info = replace(loaded.info, config=replace(fitted.apply(config), usual_confidence=usual))
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
        formatter_class=HelpFormatter,
    )
    parser.add_argument("checkpoint", type=Path, help="last.ckpt in a run's folder")
    parser.add_argument("out", type=Path, help="the .safetensors file to write")
    parser.add_argument(
        "--val",
        type=Path,
        nargs="+",
        required=True,
        help="rendered scenes of the split val, or labelled photographs",
    )
    parser.add_argument(
        "--recipe", help="recipe of the run; without it, recipe.yaml beside the checkpoint"
    )
    parser.add_argument("--name", default="", help="name of the model; by default that of its file")
    parser.add_argument(
        "--size",
        type=int,
        nargs=2,
        default=SIZE,
        metavar=("H", "W"),
        help="input size, pixels",
    )
    parser.add_argument(
        "--source", default="rendered scenes", help="what the network was trained on, for the file"
    )
    parser.add_argument(
        "--start", type=Path, help="weights that the run started from, to interpolate with"
    )
    parser.add_argument(
        "--share", type=float, default=0.8, help="share of the trained weights, with --start"
    )
    parser.add_argument(
        "--no-tta",
        action="store_true",
        help="no test-time augmentation: do not average with the mirrored picture at half the size",
    )
    parser.add_argument("--pictures", type=int, default=256, help="pictures per folder")
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
        loaded = load_trained(
            args.checkpoint,
            load_compact_recipe(args.recipe or args.checkpoint.with_name("recipe.yaml")),
            name=args.name or args.out.stem,
            size=(args.size[0], args.size[1]),
            tta=not args.no_tta,
            source=args.source,
            start=args.start,
            share=args.share,
        )
        write_calibrated(
            loaded,
            args.out,
            args.val,
            pictures=args.pictures,
            false_alarms=args.false_alarms,
        )
    except OvpsError as error:
        print(f"calibrate: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
