"""Masks for data sets that have boxes only, decoded from boxes and names: OpenSeeD's offline mask assistance."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ovps_core.bulk.coco_writer import write_coco
from ovps_core.checkpoints.file import sha256
from ovps_core.datasets.coco_folder import PSEUDO_LABEL
from ovps_core.datasets.coco_objects import CocoImage, CocoObjects, annotated_box, crowd_of
from ovps_core.datasets.segmentations import encode_segmentation
from ovps_core.errors import ImageError, OutputError, UsageError
from ovps_core.object_segmenter import ObjectSegmenter
from ovps_core.structures.boxes import side_in_image
from ovps_core.structures.image_files import load_image

_MIN_SIDE = 1e-3  # pixels of a box that can hold a mask
_Masks = list[dict[str, Any] | None]
"""Keys that are added to each annotation of an image; None leaves one as it is."""


@dataclass(frozen=True)
class BoxAnnotationCounts:
    """Counts of the annotations of a file by their outcome.

    Attributes:
        images: images in the new file.
        masks: boxes that got a mask.
        kept: annotations that had a mask already.
        crowds: boxes without a usable mask and crowds. Their box is a crowd region: no answer in it is wrong.
        damaged: images that could not be read; they are left out.
    """

    images: int
    masks: int
    kept: int
    crowds: int
    damaged: tuple[str, ...] = ()


def annotate_boxes(
    source: Path,
    out: Path,
    segmenter: ObjectSegmenter,
    *,
    images: Path | None = None,
    min_score: float = 0.0,
    limit: int = 0,
) -> BoxAnnotationCounts:
    """Write a COCO file with a mask for each box of another one, marked as pseudo-labels.

    The work is kept in a journal beside ``out``, image by image. The same call continues an interrupted run.

    Args:
        source: a COCO file, or a folder with an ``annotations.json``.
        out: the file to write.
        segmenter: the model.
        images: folder of the pictures, see :mod:`ovps_core.datasets.coco_objects`.
        min_score: lowest mean probability over a mask; a box with a worse mask becomes a crowd region.
        limit: number of images, from the first; 0 for all.

    Raises:
        UsageError: ``out`` exists, or its journal is of another model, source or option.
        DatasetError: the source is missing or malformed.
        OutputError: the disk is full.
    """
    if out.exists():
        raise UsageError(f"{out} exists already; give --out another name, or remove it")
    dataset = CocoObjects(source, images=images)
    entries = dataset.images[: limit or None]
    origin = {
        "model": segmenter.name,
        "source": sha256(dataset.source),
        "min_score": min_score,
        "short_side": segmenter.short_side,
        "precision": segmenter.engine.precision,
    }
    journal = _Journal(out.with_name(f"{out.name}.journal"), origin)
    done = journal.count()
    for image in tqdm(entries[done:], initial=done, total=len(entries), unit="image", disable=None):
        try:
            masks: _Masks | None = _decode(image, dataset, segmenter, min_score)
        except ImageError:
            masks = None
        journal.append(masks)
    counts = _write(out, dataset, entries, journal)
    journal.path.unlink()
    return counts


def _decode(
    image: CocoImage, dataset: CocoObjects, segmenter: ObjectSegmenter, min_score: float
) -> _Masks:
    """The keys for each annotation of an image."""
    pixels = load_image(image.path)
    height, width = pixels.shape[:2]
    words = dataset.queries.all
    result: _Masks = [None] * len(image.annotations)
    rows, boxes, names = [], [], []
    for row, annotation in enumerate(image.annotations):
        if annotation.get("segmentation"):
            continue
        source = f"{dataset.source}, {image.path.name}, annotation {annotation.get('id', '?')}"
        box = annotated_box(annotation, source)
        result[row] = _crowd(box)
        if not crowd_of(annotation, source) and side_in_image(box, height, width) > _MIN_SIDE:
            rows.append(row)
            boxes.append(box)
            names.append(words[dataset.label_of(annotation, source)])
    if rows:
        for each in segmenter.decode_masks(pixels, boxes, names).objects:
            if each.score >= min_score:
                result[rows[each.id - 1]] = {
                    "segmentation": encode_segmentation(each.full(height, width)),
                    "area": each.area,
                    "score": round(each.score, 4),
                    PSEUDO_LABEL: True,
                }
    return result


def _crowd(box: list[float]) -> dict[str, Any]:
    """The keys of a region in which no answer is wrong."""
    x1, y1, x2, y2 = box
    return {"segmentation": [[x1, y1, x2, y1, x2, y2, x1, y2]], "iscrowd": 1, PSEUDO_LABEL: True}


class _Journal:
    """Lines of JSON: what the masks were made from, then one line per image, null for a damaged one.

    Args:
        path: the file; it is created, or continued if it has the same ``origin``.
        origin: model, source and options.

    Raises:
        UsageError: the file has another origin.
    """

    def __init__(self, path: Path, origin: dict[str, Any]) -> None:
        self.path = path
        first = f"{json.dumps(origin)}\n".encode()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            content = path.read_bytes() if path.exists() else b""
            whole = content[: content.rfind(b"\n") + 1]  # a killed run leaves a part of a line
            if whole and not whole.startswith(first):
                raise UsageError(
                    f"{path} is of an interrupted run with another model, source or option; remove it to start "
                    "anew"
                )
            if whole != content or not whole:
                path.write_bytes(whole or first)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror or error}") from error

    def count(self) -> int:
        """Number of images."""
        return sum(1 for _ in self)

    def append(self, masks: _Masks | None) -> None:
        """Add an image."""
        try:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(f"{json.dumps(masks)}\n")
        except OSError as error:
            raise OutputError(f"cannot write {self.path}: {error.strerror or error}") from error

    def __iter__(self) -> Iterator[_Masks | None]:
        with self.path.open(encoding="utf-8") as stream:
            next(stream)
            yield from map(json.loads, stream)


def _write(
    out: Path, dataset: CocoObjects, entries: tuple[CocoImage, ...], journal: _Journal
) -> BoxAnnotationCounts:
    counts = {"masks": 0, "kept": 0, "crowds": 0}
    intact: list[dict[str, Any]] = []
    damaged: list[str] = []

    def annotations() -> Iterator[dict[str, Any]]:
        for image, masks in zip(entries, journal, strict=False):
            if masks is None:
                damaged.append(image.path.name)
                continue
            intact.append(dict(image.entry))
            for annotation, added in zip(image.annotations, masks, strict=False):
                kind = "kept" if added is None else "crowds" if "iscrowd" in added else "masks"
                counts[kind] += 1
                yield {**annotation, **(added or {})}

    categories = list(dataset.categories)
    write_coco(out, annotations(), lambda: {"images": intact, "categories": categories})
    return BoxAnnotationCounts(len(intact), **counts, damaged=tuple(damaged))
