"""Calibration of a trained compact network on validation pictures.

The network answers in two decisions (:mod:`ovps_core.models.compact.presence`). Three numbers are fitted on
folders of pictures of several kinds, such as rendered scenes and photographs: the peak that a map needs for an
answer, how much more it needs for an object-part that training never showed, and the share of its peak at which
a part ends. In each folder at most a given share of the queries about absent things gets an answer. The
confidence that is usual on these pictures is measured too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tabulate import tabulate
from tqdm import tqdm

from ovps_core.models.compact.config import PartFPNConfig
from ovps_core.models.compact.presence import smooth_peak
from ovps_core.models.confidence import ConfidenceMeasure
from ovps_core.pipeline.postprocess.components import full_size, logit
from ovps_core.segmenter import PartSegmenter
from training.compact.labelled_pictures import Truth, labelled_pictures

CUTS = (0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6)


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
class FolderEvidence:
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


def collect(
    segmenter: PartSegmenter, config: PartFPNConfig, folder: Path, count: int
) -> FolderEvidence:
    """Answers to each query on the first ``count`` pictures of a folder.

    Args:
        segmenter: the network without calibration, so that its maps are probabilities.
        config: its configuration.
        folder: see :func:`labelled_pictures`.
        count: number of pictures.
    """
    found = FolderEvidence()
    confidence = ConfidenceMeasure(len(config.objects), usual=0.0)
    pictures = labelled_pictures(folder, config, count)
    for rgb, truths in tqdm(pictures, desc=f"calibrating on {folder.name}", unit="picture"):
        if not truths:
            continue
        encoded = segmenter.encode_queries(list(truths))
        image = segmenter.encode(rgb)
        found.confidences.append(confidence.mean(image.features))
        logits = segmenter.engine.decode_image(image.features, encoded.conditions)
        maps = segmenter.engine.host_maps(logits, encoded, -math.inf)
        peaks = smooth_peak(torch.from_numpy(maps).sigmoid()).flatten().tolist()
        fine = full_size(maps, *rgb.shape[:2])[0]
        for query, peak, probability in zip(encoded.queries, peaks, fine, strict=True):
            truth = truths[query]
            ious = None if truth is None else _ious(probability, truth, peak)
            trained = (query.object, query.part) in config.object_parts or not query.part
            found.evidence.append(Evidence(peak, trained, ious))
    return found


def _ious(probability: NDArray[np.float32], truth: Truth, peak: float) -> NDArray[np.float64]:
    values = np.sort(probability[truth])
    everywhere = np.sort(probability, axis=None)
    cuts = np.array(CUTS) * peak
    overlap = len(values) - np.searchsorted(values, cuts)
    claimed = len(everywhere) - np.searchsorted(everywhere, cuts)
    return np.asarray(overlap / (len(values) + claimed - overlap))


def calibrate(folders: Sequence[Sequence[Evidence]], false_alarms: float) -> Calibration:
    """Thresholds that keep every folder within the false alarms, and the cut with the best mean IoU.

    The threshold is as low as the false alarms permit. Object-parts that training never showed get a threshold
    of their own, which is at least as high.

    Args:
        folders: the evidence of each.
        false_alarms: maximum share of answers to queries about absent things.
    """

    def lowest(trained: bool) -> float:
        absent = [
            [e.peak for e in each if e.ious is None and e.trained == trained] for each in folders
        ]
        return max((float(np.quantile(p, 1 - false_alarms)) for p in absent if p), default=0.0)

    threshold = min(max(lowest(True), 0.01), 0.95)
    unseen = min(max(lowest(False), threshold), 0.99)
    fitted = Calibration(threshold, unseen, CUTS[0])
    scores = np.mean([mean_ious(each, fitted) for each in folders], axis=0)
    return replace(fitted, relative_cut=CUTS[int(np.argmax(scores))])


def mean_ious(evidence: Sequence[Evidence], fitted: Calibration) -> NDArray[np.float64]:
    """Mean IoU of a folder's present parts for each of ``CUTS``."""
    present = [e.ious * fitted.answers(e) for e in evidence if e.ious is not None]
    return np.mean(present, axis=0) if present else np.zeros(len(CUTS))


def usual_confidence(folders: Sequence[FolderEvidence]) -> float:
    """Confidence that 95% of all pictures reach, 0 to 1."""
    confidences = [mean for each in folders for mean in each.confidences]
    return round(float(np.quantile(confidences, 0.05)), 4)


def summary(
    names: Sequence[str],
    folders: Sequence[Sequence[Evidence]],
    fitted: Calibration,
    false_alarms: float,
) -> str:
    """A table of what a calibration gives on each folder.

    Its last two columns show the threshold that this folder alone would permit, and the mean IoU there.
    """
    cut = CUTS.index(fitted.relative_cut)
    rows = []
    for name, evidence in zip(names, folders, strict=True):
        absent = [fitted.answers(e) for e in evidence if e.ious is None]
        present = sum(e.ious is not None for e in evidence)
        alarms = float(np.mean(absent)) if absent else float("nan")
        iou = mean_ious(evidence, fitted)[cut]
        alone = calibrate([evidence], false_alarms)
        own = f"{alone.threshold:.2f}", 100 * mean_ious(evidence, alone)[cut]
        rows.append((name, present, len(absent), 100 * iou, 100 * alarms, *own))
    headers = ("folder", "present", "absent", "mean IoU", "false alarms")
    formats = ("", "", "", ".1f", ".1f", ".2f", ".1f")
    return tabulate(rows, headers=(*headers, "own threshold", "mean IoU there"), floatfmt=formats)
