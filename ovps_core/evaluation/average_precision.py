"""Average precision of boxes and masks (COCO, Lin et al., ECCV 2014), computed by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ovps_core.datasets.labelled_objects import LabelledObjects
from ovps_core.datasets.segmentations import encode_segmentation

_AP75 = 5  # row of the IoU 0.75 among 0.50, 0.55, ..., 0.95
_SIZES = ("all", "small", "medium", "large")  # order of pycocotools' area ranges


@dataclass(frozen=True)
class Detection:
    """One answer about an image.

    Attributes:
        label: row of the names.
        score: answers are ranked by it.
        box: (x1, y1, x2, y2) in pixels.
        mask: bool [H, W]; None if only boxes are scored.
    """

    label: int
    score: float
    box: tuple[float, float, float, float]
    mask: NDArray[np.bool_] | None = field(default=None, repr=False)


@dataclass(frozen=True)
class PrecisionScores:
    """Average precision, shares from 0 to 1; NaN where there is no such object.

    Attributes:
        ap: mean over the IoU thresholds 0.50, 0.55, ..., 0.95 and over names.
        ap50, ap75: at one IoU threshold.
        small, medium, large: of objects under 32 x 32 pixels, up to 96 x 96, and above.
        per_label: ``ap`` of each name.
    """

    ap: float
    ap50: float
    ap75: float
    small: float
    medium: float
    large: float
    per_label: tuple[float, ...]


class AveragePrecision:
    """Accumulator of answers and ground truth.

    In files that follow LVIS, answers are dropped where nobody looked for their name. Where the objects of a name
    are annotated in part, its other answers are ignored: the whole image is a crowd of that name.

    Args:
        kind: compare "bbox" or "segm", the masks.
        num_labels: number of names.
        max_detections: answers per image and name that count.
    """

    def __init__(
        self, kind: Literal["bbox", "segm"], num_labels: int, max_detections: int = 100
    ) -> None:
        self.kind = kind
        self.num_labels = num_labels
        self.max_detections = max_detections
        self._images: list[dict[str, int]] = []
        self._truth: list[dict[str, Any]] = []
        self._found: list[dict[str, Any]] = []

    @property
    def images(self) -> int:
        """Number of images so far."""
        return len(self._images)

    def add(self, truth: LabelledObjects, found: Sequence[Detection]) -> None:
        """Add an image. Labels of ``num_labels`` and above, such as stuff, are left out.

        Args:
            truth: its objects.
            found: the answers, in any order.
        """
        height, width = truth.image.shape[:2]
        image = len(self._images) + 1
        self._images.append({"id": image, "height": height, "width": width})
        for row in np.flatnonzero(truth.labels < self.num_labels):
            mask = None if truth.masks is None else truth.masks[row]
            entry = self._entry(image, int(truth.labels[row]), tuple(truth.boxes[row]), mask)
            entry["area"] = float(truth.areas[row])
            self._add_truth(entry, bool(truth.crowds[row]))
        # boxes may reach beyond the image, and a crowd ignores only what it holds
        corners = np.array([each.box for each in found] or [(0, 0, 0, 0)], dtype=np.float64)
        left, top = np.minimum(corners[:, :2].min(0), 0)
        right, bottom = np.maximum(corners[:, 2:].max(0), (width, height))
        whole = (left, top, right, bottom)
        for label in sorted(truth.incomplete):
            everything = np.ones((height, width), dtype=bool)
            self._add_truth(self._entry(image, label, whole, everything), True)
        for each in found:
            if each.label < self.num_labels and (
                truth.checked is None or each.label in truth.checked
            ):
                entry = self._entry(image, each.label, each.box, each.mask)
                self._found.append({**entry, "id": len(self._found) + 1, "score": each.score})

    def _add_truth(self, entry: dict[str, Any], is_crowd: bool) -> None:
        # pycocotools takes 0 for "no match", so ids start at 1
        number = len(self._truth) + 1
        self._truth.append({**entry, "id": number, "iscrowd": int(is_crowd)})

    def _entry(
        self,
        image: int,
        label: int,
        box: Sequence[float],
        mask: NDArray[np.bool_] | None,
    ) -> dict[str, Any]:
        x1, y1, x2, y2 = map(float, box)
        entry: dict[str, Any] = {
            "image_id": image,
            "category_id": label,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": (x2 - x1) * (y2 - y1),
        }
        if self.kind == "segm":
            assert mask is not None
            entry["segmentation"] = encode_segmentation(mask)
            entry["area"] = float(mask.sum())
        return entry

    def compute(self) -> PrecisionScores:
        """Scores of all images so far."""
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
            evaluation = COCOeval(self._coco(self._truth), self._coco(self._found), self.kind)
            evaluation.params.maxDets = [self.max_detections]
            evaluation.evaluate()
            evaluation.accumulate()
        # IoU thresholds, recall thresholds, names, sizes, limits of detections; -1 where there is no object
        precision = evaluation.eval["precision"][..., 0]
        sizes = {name: _mean(precision[..., row]) for row, name in enumerate(_SIZES)}
        everything = precision[..., 0]
        return PrecisionScores(
            sizes["all"],
            _mean(everything[0]),
            _mean(everything[_AP75]),
            sizes["small"],
            sizes["medium"],
            sizes["large"],
            tuple(_mean(everything[:, :, label]) for label in range(self.num_labels)),
        )

    def _coco(self, annotations: list[dict[str, Any]]) -> COCO:
        table = COCO()
        categories = [{"id": label} for label in range(self.num_labels)]
        table.dataset = {
            "images": self._images,
            "categories": categories,
            "annotations": annotations,
        }
        table.createIndex()
        return table


def _mean(precision: NDArray[np.float64]) -> float:
    """Mean of the values that are defined; NaN if there are none."""
    defined = precision[precision > -1]
    return float(defined.mean()) if defined.size else float("nan")
