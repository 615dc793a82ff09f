"""Evaluation on benchmarks that ask in sentences, one mask for each sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from ovps_core.datasets.asked_pictures import AskedPicture
from ovps_core.errors import DatasetError, QueryError
from ovps_core.segmenter import PartSegmenter
from ovps_core.structures.image_files import load_image
from ovps_core.structures.whole_files import without_nan

_THRESHOLDS = np.arange(0.5, 1.0, 0.05)


@dataclass(frozen=True)
class PhraseResult:
    """Scores of a model; a refused question scores 0.

    Attributes:
        model: name of the weights.
        questions: number of questions.
        refused: of these, what the model refused.
        giou: mean over the questions of the IoU, 0..1.
        ciou: sum of all intersections over the sum of all unions, 0..1.
        precision_50: share of questions with an IoU of at least 0.5.
        precision_50_95: mean of that share over the thresholds 0.5, 0.55, ..., 0.95.
        giou_of_answered: mean IoU over the questions that the model did not refuse; NaN without any.
    """

    model: str
    questions: int
    refused: int
    giou: float
    ciou: float
    precision_50: float
    precision_50_95: float
    giou_of_answered: float

    def as_dict(self) -> dict[str, Any]:
        """Every score, ready for JSON."""
        content: dict[str, Any] = without_nan(asdict(self))
        return content


def evaluate_phrases(questions: Sequence[AskedPicture], segmenter: PartSegmenter) -> PhraseResult:
    """Ask a model every question.

    Args:
        questions: of a benchmark.
        segmenter: the model; the answer is the union of the parts that it reports.

    Raises:
        DatasetError: there is no question, or a mask has another size than its picture.
        ImageError: a file is damaged.
    """
    if not questions:
        raise DatasetError("there is no question to ask")
    ious, intersections, unions = np.zeros(len(questions)), 0, 0
    refused = np.zeros(len(questions), bool)
    for i, question in enumerate(tqdm(questions, unit="question", disable=None)):
        image, truth = load_image(question.image_path), question.read_truth()
        if truth.shape != image.shape[:2]:
            raise DatasetError(
                f"{question.name}: its mask is {truth.shape}, its picture {image.shape[:2]} (height, width)"
            )
        mask = np.zeros(truth.shape, bool)
        try:
            found = segmenter.segment(image, [question.phrase])
            refused[i] = bool(found.refused)
            for part in found.parts:
                mask |= part.full(*truth.shape)
        except QueryError:
            refused[i] = True
        overlap, union = int((mask & truth).sum()), int((mask | truth).sum())
        intersections, unions = intersections + overlap, unions + union
        ious[i] = overlap / union if union else 1.0
    answered = ious[~refused]
    return PhraseResult(
        segmenter.name,
        len(questions),
        int(refused.sum()),
        float(ious.mean()),
        intersections / unions if unions else float("nan"),
        float((ious >= 0.5).mean()),
        float(np.mean([(ious >= threshold - 1e-9).mean() for threshold in _THRESHOLDS])),
        float(answered.mean()) if len(answered) else float("nan"),
    )
