"""Calibrated weights file from a training checkpoint: ``python -m training.compact.calibrate CKPT OUT --val DIR``.

The network answers in two decisions (:mod:`ovps_core.models.compact.presence`). Three numbers are fitted on
validation pictures of several looks, such as rendered scenes and photographs: the peak that a map needs for
an answer, how much more it needs for an object-part that training never showed, and the share of its peak at
which a part ends. On each look at most a given share of the queries about absent things gets an answer. The
confidence that is usual on these pictures is measured too.
"""

from __future__ import annotations

import argparse
import math
import pickle
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tabulate import tabulate
from torch import Tensor
from tqdm import tqdm

from ovps_core.checkpoints.file import CheckpointInfo, LoadedModel, load_model, save_model
from ovps_core.cli import HelpFormatter
from ovps_core.engines.torch_eager import EagerEngine
from ovps_core.errors import CheckpointError, ConfigError, OvpsError
from ovps_core.models.compact.config import PartFPNConfig
from ovps_core.models.compact.model import PartFPN
from ovps_core.models.compact.presence import smooth_peak
from ovps_core.models.compact.query_encoder import VocabularyEncoder
from ovps_core.models.confidence import ConfidenceMeasure
from ovps_core.pipeline.postprocess.components import full_size, logit
from ovps_core.segmenter import PartSegmenter
from training.compact.labelled_pictures import Truth, labelled_pictures
from training.compact.module import network_config
from training.compact.recipe import CompactRecipe
from training.families import load_recipe

CUTS = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6)
FALSE_ALARMS = 0.045
SIZE = (320, 384)
"""Input size (height, width) of the packaged model, pixels."""
_NOTHING = 0.02  # mean IoU below which a network counts as untrained


@dataclass(frozen=True)
class Evidence:
    """Answer of the network to one query on one picture.

    Attributes:
        peak: maximum of the query's smoothed probability map.
        trained: training showed this object-part.
        ious: IoU with the truth of the map cut at each share of ``CUTS`` of its peak; None for an absent part.
    """

    peak: float
    trained: bool
    ious: NDArray[np.float64] | None


@dataclass
class Look:
    """Answers of the network on the pictures of one folder.

    Attributes:
        evidence: one for each query on each picture.
        confidences: one for each picture, see :mod:`ovps_core.models.confidence`.
    """

    evidence: list[Evidence] = field(default_factory=list)
    confidences: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Calibration:
    """Thresholds fitted on validation pictures.

    Attributes:
        threshold: peak from which on a query gets an answer, 0 to 1.
        unseen_threshold: the same for object-parts that training never showed.
        relative_cut: share of its peak at which a part ends.
    """

    threshold: float
    unseen_threshold: float
    relative_cut: float

    def answers(self, evidence: Evidence) -> bool:
        """Whether a query gets an answer."""
        return evidence.peak >= (self.threshold if evidence.trained else self.unseen_threshold)

    def apply(self, config: PartFPNConfig) -> PartFPNConfig:
        """The configuration of a network that answers so at the default thresholds."""
        return replace(
            config,
            shift=-logit(self.threshold),
            unseen_pair_penalty=logit(self.unseen_threshold) - logit(self.threshold),
            relative_cut=self.relative_cut,
        )


def uncalibrated(config: PartFPNConfig) -> PartFPNConfig:
    """The configuration of a network whose maps are probabilities, as training leaves them."""
    return replace(
        config,
        scale=1.0,
        shift=0.0,
        relative_cut=0.0,
        unseen_pair_penalty=0.0,
        usual_confidence=0.0,
    )


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


def collect(segmenter: PartSegmenter, config: PartFPNConfig, folder: Path, count: int) -> Look:
    """Answers to each query on the first ``count`` pictures of a folder.

    Args:
        segmenter: the network without calibration, so that its maps are probabilities.
        config: its configuration.
        folder: see :func:`labelled_pictures`.
        count: number of pictures.
    """
    look = Look()
    confidence = ConfidenceMeasure(len(config.objects), usual=0.0)
    pictures = labelled_pictures(folder, config, count)
    for rgb, truths in tqdm(pictures, desc=f"calibrating on {folder.name}", unit="picture"):
        if not truths:
            continue
        encoded = segmenter.encode_queries(list(truths))
        image = segmenter.encode(rgb)
        look.confidences.append(confidence.mean(image.features))
        logits = segmenter.engine.decode_image(image.features, encoded.conditions)
        maps = segmenter.engine.host_maps(logits, encoded, -math.inf)
        peaks = smooth_peak(torch.from_numpy(maps).sigmoid()).flatten().tolist()
        fine = full_size(maps, *rgb.shape[:2])[0]
        for query, peak, probability in zip(encoded.queries, peaks, fine, strict=True):
            truth = truths[query]
            ious = None if truth is None else _ious(probability, truth, peak)
            trained = (query.object, query.part) in config.object_parts or not query.part
            look.evidence.append(Evidence(peak, trained, ious))
    return look


def _ious(probability: NDArray[np.float32], truth: Truth, peak: float) -> NDArray[np.float64]:
    values = np.sort(probability[truth])
    everywhere = np.sort(probability, axis=None)
    cuts = np.array(CUTS) * peak
    overlap = len(values) - np.searchsorted(values, cuts)
    claimed = len(everywhere) - np.searchsorted(everywhere, cuts)
    return np.asarray(overlap / (len(values) + claimed - overlap))


def calibrate(looks: Sequence[Sequence[Evidence]], false_alarms: float) -> Calibration:
    """Thresholds that keep every look within the false alarms, and the cut with the best mean IoU.

    The threshold is as low as the false alarms permit. Object-parts that training never showed get a threshold
    of their own, which is at least as high.

    Args:
        looks: the evidence of several folders.
        false_alarms: maximum share of answers to queries about absent things.
    """

    def lowest(trained: bool) -> float:
        absent = [
            [e.peak for e in look if e.ious is None and e.trained == trained] for look in looks
        ]
        return max((float(np.quantile(p, 1 - false_alarms)) for p in absent if p), default=0.0)

    threshold = min(max(lowest(True), 0.01), 0.95)
    unseen = min(max(lowest(False), threshold), 0.99)
    fitted = Calibration(threshold, unseen, CUTS[0])
    scores = np.mean([_mean_ious(look, fitted) for look in looks], axis=0)
    return replace(fitted, relative_cut=CUTS[int(np.argmax(scores))])


def _mean_ious(look: Sequence[Evidence], fitted: Calibration) -> NDArray[np.float64]:
    """Mean IoU of a look's present parts for each of ``CUTS``."""
    present = [e.ious * fitted.answers(e) for e in look if e.ious is not None]
    return np.mean(present, axis=0) if present else np.zeros(len(CUTS))


def usual_confidence(looks: Sequence[Look]) -> float:
    """Confidence that 95% of all pictures reach, 0 to 1."""
    confidences = [mean for look in looks for mean in look.confidences]
    return round(float(np.quantile(confidences, 0.05)), 4)


def summary(names: Sequence[str], looks: Sequence[Sequence[Evidence]], fitted: Calibration) -> str:
    """A table of what a calibration gives on each look."""
    cut = CUTS.index(fitted.relative_cut)
    rows = []
    for name, look in zip(names, looks, strict=True):
        absent = [fitted.answers(e) for e in look if e.ious is None]
        present = sum(e.ious is not None for e in look)
        alarms = float(np.mean(absent)) if absent else float("nan")
        iou = _mean_ious(look, fitted)[cut]
        rows.append((name, present, len(absent), 100 * iou, 100 * alarms))
    headers = ("look", "present", "absent", "mean IoU", "false alarms")
    return tabulate(rows, headers=headers, floatfmt=".1f")


def interpolate_weights(
    fine_tuned: Mapping[str, Tensor], start: Mapping[str, Tensor], share: float
) -> dict[str, Tensor]:
    """``share`` of the fine-tuned weights and the rest of those that the fine-tuning started from.

    It keeps most of both (WiSE-FT, Wortsman et al., CVPR 2022).

    Raises:
        CheckpointError: the two networks differ.
    """
    if {k: v.shape for k, v in fine_tuned.items()} != {k: v.shape for k, v in start.items()}:
        raise CheckpointError("the weights to interpolate with are of another network")
    return {
        key: torch.lerp(start[key].float(), value.float(), share).to(value.dtype)
        if value.is_floating_point()
        else value
        for key, value in fine_tuned.items()
    }


def write_calibrated(
    checkpoint: Path,
    out: Path,
    val: Sequence[Path],
    recipe: CompactRecipe,
    *,
    name: str = "",
    size: tuple[int, int] = SIZE,
    second_look: bool = True,
    pictures: int = 256,
    false_alarms: float = FALSE_ALARMS,
    source: str = "rendered scenes",
    start: Path | None = None,
    share: float = 0.8,
) -> CheckpointInfo:
    """Calibrate a trained network and write its weights in 16 bits.

    Args:
        checkpoint: Lightning checkpoint of a run.
        out: the ``.safetensors`` file to write.
        val: folders of rendered scenes of the split val, or of labelled photographs.
        recipe: the run's recipe.
        name: name of the model; by default that of its file.
        size: (height, width) of the network's input, pixels.
        second_look: average with the answer to the mirrored picture at half the size.
        pictures: number of pictures per folder.
        false_alarms: see :func:`calibrate`.
        source: what the network was trained on, for the file's header.
        start, share: see :func:`interpolate_weights`; None for the trained weights alone.

    Raises:
        CheckpointError: the checkpoint cannot be read, or its network finds nothing; no file is written.
        DatasetError: a folder holds neither rendered scenes nor labelled photographs.
    """
    config = uncalibrated(network_config(recipe))
    config = replace(config, size=size, flip_tta=second_look, half_scale=second_look)
    model = PartFPN(config)
    weights = load_weights(checkpoint)
    if start is not None:
        weights = interpolate_weights(weights, load_model(start).model.state_dict(), share)
    model.load_state_dict(weights)
    info = CheckpointInfo(name or out.stem, "compact", config, licence="Apache-2.0", source=source)
    loaded = LoadedModel(model.eval(), VocabularyEncoder(config.vocabulary, config.synonyms), info)
    segmenter = PartSegmenter(loaded, EagerEngine(model))
    looks = [collect(segmenter, config, folder, pictures) for folder in val]
    evidence = [look.evidence for look in looks]
    fitted = calibrate(evidence, false_alarms)
    print(fitted, summary([folder.name for folder in val], evidence, fitted), sep="\n")
    if max(_mean_ious(look, fitted).max() for look in evidence) < _NOTHING:
        raise CheckpointError(
            f"the network of {checkpoint} finds nothing on {', '.join(map(str, val))}, so {out} is not written; "
            "train it longer"
        )
    usual = usual_confidence(looks)
    print(f"confidence on 95% of the pictures: {usual} or more")
    info = replace(info, config=replace(fitted.apply(config), usual_confidence=usual))
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
        "--one-look",
        action="store_true",
        help="do not average with the mirrored picture at half the size",
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
        write_calibrated(
            args.checkpoint,
            args.out,
            args.val,
            load_compact_recipe(args.recipe or args.checkpoint.with_name("recipe.yaml")),
            name=args.name,
            size=(args.size[0], args.size[1]),
            second_look=not args.one_look,
            pictures=args.pictures,
            source=args.source,
            start=args.start,
            share=args.share,
            false_alarms=args.false_alarms,
        )
    except OvpsError as error:
        print(f"calibrate: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
