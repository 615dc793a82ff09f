"""Parameter-free refinements of the packaged model, measured on the real pictures of the package.

    python -m scripts.measure_refinement none mask-and-crop crop affinity

The results are in docs/notebook/refinement.md.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from tabulate import tabulate
from torch import Tensor

from ovps_core.datasets.coco_folder import CocoFolder
from ovps_core.evaluation.folder import evaluate_folder
from ovps_core.evaluation.household import HOUSEHOLD
from ovps_core.models.compact.model import PartFPN
from ovps_core.models.interface import EncodedQueries
from ovps_core.pipeline.postprocess.components import full_size
from ovps_core.pipeline.preprocess import RgbImage, to_batch
from ovps_core.segmenter import PartSegmenter
from ovps_core.structures.boxes import Box
from ovps_core.structures.query import PartQuery
from scripts.refinement import object_crops, spread_by_affinity

_ABSENT = 1e-4  # probability where nothing is
_PADDING = 0.1  # share of the box on either side that a crop shows too
_TEMPERATURE = 0.1  # of the softmax over cosines of features


class RefinedSegmenter(PartSegmenter):
    """The packaged model with a refinement of its maps; one image at a time."""

    refine: Callable[[RgbImage, EncodedQueries], NDArray[np.float32]]

    def query_maps(
        self, images: Sequence[RgbImage], queries: EncodedQueries, threshold: float = -np.inf
    ) -> NDArray[np.float32]:
        """Refined mask logits, float32 [1, Q, h, w]."""
        (image,) = images
        return self.refine(image, queries)[None]

    def plain(self, image: RgbImage, queries: EncodedQueries) -> NDArray[np.float32]:
        """Mask logits of the model itself, float32 [Q, h, w]."""
        return super().query_maps([image], queries)[0]

    def objects(self, image: RgbImage, queries: EncodedQueries) -> tuple[list[str], Tensor]:
        """Names of the objects whose parts are asked for, and their probabilities float [O, H, W]."""
        names = sorted({query.object for query in queries.queries if query.object and query.part})
        encoded = self.encode_queries([PartQuery(name, object=name) for name in names])
        maps = full_size(self.plain(image, encoded)[None], *image.shape[:2])[0]
        return names, torch.from_numpy(maps)


def mask_and_crop(
    segmenter: RefinedSegmenter, image: RgbImage, queries: EncodedQueries
) -> NDArray[np.float32]:
    """Parts inside each object alone: everything else is black, and there is no part outside an object."""
    height, width = image.shape[:2]
    names, maps = segmenter.objects(image, queries)
    best, labels = maps.max(0)
    labels[best < 0.5] = len(names)
    probability = torch.full((len(queries.queries), height, width), _ABSENT)
    size = segmenter.spec.preprocessing.size
    for crop in object_crops(image, labels.numpy(), size, len(names)):
        rows = _rows(queries, names[crop.label])
        alone = crop.pixels.round().byte().permute(1, 2, 0).numpy()
        asked = segmenter.encode_queries([queries.queries[row] for row in rows])
        probability[rows] = crop.paste(torch.from_numpy(segmenter.plain(alone, asked)))
    return _logits(probability)


def crop(
    segmenter: RefinedSegmenter, image: RgbImage, queries: EncodedQueries
) -> NDArray[np.float32]:
    """Mean of the logits in the whole image and in the box around each object, where it has surroundings."""
    height, width = image.shape[:2]
    whole = F.interpolate(
        torch.from_numpy(segmenter.plain(image, queries))[None], (height, width), mode="bilinear"
    )[0]
    for name, probability in zip(*segmenter.objects(image, queries), strict=True):
        mask = (probability > 0.5).numpy()
        if not mask.any():
            continue
        rows_of_box, columns = _padded(Box.of_mask(mask), height, width)
        rows = _rows(queries, name)
        asked = segmenter.encode_queries([queries.queries[row] for row in rows])
        maps = segmenter.plain(np.ascontiguousarray(image[rows_of_box, columns]), asked)
        for row, map_ in zip(rows, torch.from_numpy(maps), strict=True):
            here = whole[row, rows_of_box, columns]
            closer = F.interpolate(map_[None, None], here.shape, mode="bilinear")[0, 0]
            whole[row, rows_of_box, columns] = (here + closer) / 2
    return whole.numpy()


def affinity(
    segmenter: RefinedSegmenter, image: RgbImage, queries: EncodedQueries
) -> NDArray[np.float32]:
    """Probabilities times the change that the affinity of the trunk's features makes at their resolution."""
    assert isinstance(segmenter.model, PartFPN)
    maps = torch.from_numpy(segmenter.plain(image, queries)).sigmoid()
    with torch.inference_mode():
        level = segmenter.model.trunk(to_batch([image], segmenter.spec.preprocessing))[-2][0]
    features = level.flatten(1).T
    features = F.normalize(features - features.mean(0), dim=1)
    grid = level.shape[-2:]
    cells = F.adaptive_avg_pool2d(maps, grid).flatten(1).T
    spread = spread_by_affinity(cells, (features @ features.T / _TEMPERATURE).softmax(1))
    change = ((spread + 1e-3) / (cells + 1e-3)).clamp(0.25, 4).sqrt()
    change = F.interpolate(change.T.unflatten(1, grid)[None], maps.shape[1:], mode="bilinear")[0]
    return _logits(maps * change)


def _padded(box: Box, height: int, width: int) -> tuple[slice, slice]:
    x1, y1, x2, y2 = box.corners
    across, down = round(_PADDING * box.width) + 1, round(_PADDING * box.height) + 1
    return (
        slice(max(0, y1 - down), min(height, y2 + down)),
        slice(max(0, x1 - across), min(width, x2 + across)),
    )


def _rows(queries: EncodedQueries, name: str) -> list[int]:
    return [i for i, query in enumerate(queries.queries) if query.object == name and query.part]


def _logits(probability: Tensor) -> NDArray[np.float32]:
    return probability.logit(eps=_ABSENT).numpy()


REFINEMENTS = {
    "none": RefinedSegmenter.plain,
    "mask-and-crop": mask_and_crop,
    "crop": crop,
    "affinity": affinity,
}


def main(names: Sequence[str]) -> None:
    """Print a line for each refinement."""
    rows = []
    for name in names or REFINEMENTS:
        segmenter = RefinedSegmenter.from_pretrained("ovps-tiny", backend="torch")
        segmenter.refine = partial(REFINEMENTS[name], segmenter)
        found = evaluate_folder(CocoFolder(HOUSEHOLD), segmenter).queries.as_dict()
        metrics = ("mean_iou", "best_threshold_iou", "precision_50", "false_alarm_rate")
        rows.append([name, *(f"{100 * found[metric]:.1f}" for metric in metrics)])
        print(tabulate(rows[-1:], tablefmt="plain"), flush=True)
    print(tabulate(rows, ["refinement", "mean IoU", "best cut", "P@0.5", "false alarms"]))


if __name__ == "__main__":
    main(sys.argv[1:])
