"""Packed data of objects, for corpora such as Objects365 whose annotations alone fill the memory.

See ``training/shards.py``. The index has the names in place of a vocabulary. A sample is KEY.jpg and KEY.json::

    {"labels": [0, 2], "boxes": [[x1, y1, x2, y2], ...], "pseudo": [false, true], "masks": [COCO run lengths, ...]}
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovps_core.datasets.labelled_objects import LabelledObjects, ObjectDataset
from ovps_core.datasets.segmentations import decode_segmentation, encode_segmentation
from ovps_core.errors import DatasetError
from ovps_core.structures.image_files import encode_image, load_image
from training.shards import PackedData, read_index, write_shards


@dataclass(frozen=True)
class ObjectShards(PackedData[LabelledObjects]):
    """Packed photographs with objects.

    Attributes:
        things, stuff: names as the data set writes them.
        has_masks: every object has a mask.
        pseudo_labels: number of annotations that a model made.
    """

    things: tuple[str, ...]
    stuff: tuple[str, ...]
    has_masks: bool
    pseudo_labels: int

    @property
    def names(self) -> tuple[str, ...]:
        """Things, then stuff."""
        return self.things + self.stuff

    @classmethod
    def open(cls, folder: Path) -> ObjectShards:
        """Read the index.

        Raises:
            DatasetError: there is none, or it is damaged.
            MissingDependencyError: WebDataset is not installed.
        """

        def from_index(content: Mapping[str, Any]) -> ObjectShards:
            things, stuff = (tuple(map(str, content[key])) for key in ("things", "stuff"))
            count, pseudo_labels = int(content["count"]), int(content["pseudo_labels"])
            return cls(folder, count, things, stuff, bool(content["has_masks"]), pseudo_labels)

        return read_index(folder, from_index)

    def unpack(self, packed: Mapping[str, bytes]) -> LabelledObjects:
        """See :meth:`PackedData.unpack`."""
        image = load_image(packed["jpg"])
        try:
            content = json.loads(packed["json"])
            labels = np.array(content["labels"], dtype=np.int64).reshape(-1)
            boxes = np.array(content["boxes"], dtype=np.float32).reshape(-1, 4)
            pseudo = np.array(content["pseudo"], dtype=bool).reshape(-1)
            masks = self._masks(content, *image.shape[:2]) if self.has_masks else None
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise DatasetError(f"the objects of a sample cannot be read: {error}") from error
        lengths = {len(labels), len(boxes), len(pseudo)}
        if masks is not None:
            lengths.add(len(masks))
        in_range = ((labels >= 0) & (labels < len(self.names))).all()
        if len(lengths) > 1 or not in_range or not np.isfinite(boxes).all():
            raise DatasetError(
                "the objects of a sample do not fit together, or their names or boxes"
            )
        sides = boxes[:, 2:] - boxes[:, :2]
        areas = sides.prod(1) if masks is None else masks.sum((1, 2))
        crowds = np.zeros(len(labels), dtype=bool)
        return LabelledObjects(image, labels, boxes, masks, areas.astype(float), crowds, pseudo)

    def _masks(self, content: Mapping[str, Any], height: int, width: int) -> NDArray[np.bool_]:
        decoded = [decode_segmentation(m, height, width, "a mask") for m in content["masks"]]
        return np.stack(decoded) if decoded else np.zeros((0, height, width), dtype=bool)


def pack_objects(
    photographs: ObjectDataset, out: Path, *, limit: int = 0, shard_megabytes: float = 256.0
) -> Counter[str]:
    """Write photographs and their objects into shards.

    Args:
        photographs: the data set, without crowds.
        out: see :func:`training.shards.write_shards`, also for errors.
        limit: number of photographs, from the first; 0 for all.
        shard_megabytes: size at which a new shard begins.
    """
    index = {
        "things": list(photographs.things),
        "stuff": list(photographs.stuff),
        "has_masks": photographs.has_masks,
        "pseudo_labels": photographs.pseudo_labels,
    }
    count = min(limit or len(photographs), len(photographs))
    reads = [partial(photographs.read, number) for number in range(count)]
    return write_shards(reads, _encode, index, out, shard_megabytes=shard_megabytes)


def _encode(sample: LabelledObjects) -> dict[str, bytes]:
    content: dict[str, Any] = {
        "labels": sample.labels.tolist(),
        "boxes": sample.boxes.tolist(),
        "pseudo": sample.pseudo.tolist(),
    }
    if sample.masks is not None:
        content["masks"] = [encode_segmentation(mask) for mask in sample.masks]
    return {"jpg": encode_image(sample.image, ".jpg"), "json": json.dumps(content).encode()}
