"""Labels of people merged into a data set's annotations: which mask came from whom, how and when.

Each annotation of a picture that a person submitted has these keys:

``origin``
    "model": accepted as suggested; "propagated": accepted as carried from another frame; "corrected": a suggestion
    that was changed; "drawn": made by hand. An accepted mask that no model made keeps what it had, also nothing.
``annotator``, ``annotated_at``
    who submitted the picture with this mask first, and when (ISO 8601).

The picture itself says with ``neg_category_ids`` (LVIS) which categories it does not show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ovps_core.datasets.coco_check import NEGATIVE, NOT_EXHAUSTIVE
from ovps_core.datasets.coco_folder import (
    ANNOTATIONS,
    PSEUDO_LABEL,
    decode_annotation,
    has_mask,
    is_pseudo_label,
)
from ovps_core.datasets.segmentations import encode_segmentation
from ovps_core.errors import DatasetError
from ovps_core.labelling.regions import SAME, Region, outlined
from ovps_core.structures.boxes import Box
from ovps_core.structures.masks import mask_iou

Origin = Literal["model", "propagated", "corrected", "drawn"]
PROPAGATED: Origin = "propagated"
"""Origin of a mask that :mod:`ovps_core.labelling.spread` carried from another frame."""
_CORRECTED = 0.3  # least IoU of a changed suggestion
_OF_THE_MODEL = (PSEUDO_LABEL, "score", "agreement", "id", "bbox", "area", "segmentation", "mask")
_WORDS = ("object", "part", "query")
_BY_WHOM = ("annotator", "annotated_at")
_UNKNOWN = "kept as they were"  # count of accepted masks without an origin


@dataclass(frozen=True)
class Submission:
    """Submission of a person for one picture.

    Attributes:
        image_id: id of the picture in the data set.
        annotator: e-mail address or name.
        annotated_at: time of the last change, ISO 8601.
        regions: every mask of the picture.
        file_name: of the picture, which says which one it is where ids have moved; "" if only the id is known.
    """

    image_id: int | str
    annotator: str
    annotated_at: str
    regions: tuple[Region, ...]
    file_name: str = ""


def merge(
    coco: Mapping[str, Any], submissions: Sequence[Submission], folder: Path = Path()
) -> tuple[dict[str, Any], Counter[str]]:
    """Annotations of a data set with those of submitted pictures replaced; other pictures keep theirs.

    A person who submits a picture has looked at all of it, so that afterwards every instance of its categories is
    annotated (``not_exhaustive_category_ids`` is empty), and it shows no category without a mask
    (``neg_category_ids``). A category that came after the submission is in neither. Merging twice gives the same
    file.

    Args:
        coco: content of ``annotations.json``.
        submissions: at most one for each picture.
        folder: of ``annotations.json``, where mask files are.

    Returns:
        The new content, and the number of masks by origin.

    Raises:
        DatasetError: a region's label is not a category, or its picture is not in the data set.
    """
    images = {image["id"]: dict(image) for image in coco["images"]}
    by_name = {image["file_name"]: image for image in images.values()}
    categories = {category_name(c): c for c in coco["categories"]}
    submitted = [_picture(submission, images, by_name) for submission in submissions]
    earlier: dict[Any, list[Mapping[str, Any]]] = {image["id"]: [] for image in submitted}
    kept = [a for a in coco["annotations"] if a["image_id"] not in earlier]
    for annotation in coco["annotations"]:
        if annotation["image_id"] in earlier:
            earlier[annotation["image_id"]].append(annotation)
    counts: Counter[str] = Counter()
    for submission, image in zip(submissions, submitted, strict=True):
        if image.get("annotated_at") != submission.annotated_at or NEGATIVE not in image:
            shown = {region.label for region in submission.regions}
            image[NEGATIVE] = [c["id"] for c in coco["categories"] if category_name(c) not in shown]
        image[NOT_EXHAUSTIVE], image["annotated_at"] = [], submission.annotated_at
        have_moved = image["id"] != submission.image_id
        suggestions = _decoded(earlier[image["id"]], submission.regions, image, folder)
        for given in submission.regions:
            region = replace(given, key="") if have_moved else given  # keys have the ids of then
            category = _category(region, image, categories)
            annotation = _annotation(
                submission, region, _closest(region, suggestions), image, category
            )
            counts[annotation.get("origin", _UNKNOWN)] += 1
            kept.append(annotation)
    _number(kept, [a.get("id") for a in coco["annotations"]])
    counts["pictures"] = len(submissions)
    return {**coco, "images": list(images.values()), "annotations": kept}, counts


def _picture(
    submission: Submission,
    by_id: Mapping[Any, dict[str, Any]],
    by_name: Mapping[str, dict[str, Any]],
) -> dict[str, Any]:
    """The picture of a submission, by the name of its file, since another run may number pictures anew."""
    name = submission.file_name
    image = by_name.get(name) if name else by_id.get(submission.image_id)
    if image is None:
        raise DatasetError(
            f"Label Studio has a task of the picture {name or submission.image_id!r}, which this data set does "
            "not have; give the data set from which the project was opened"
        )
    return image


def category_name(category: Mapping[str, Any]) -> str:
    """The label of a category: "valve wheel", or its name in a file without objects and parts."""
    words = f"{category.get('object', '')} {category.get('part', '')}".strip()
    return words or str(category.get("name", ""))


def _number(annotations: Sequence[dict[str, Any]], earlier: Sequence[Any]) -> None:
    """Give new annotations ids that no annotation has had, so that the keys of regions stay valid."""
    unused = 1 + max((number for number in earlier if isinstance(number, int)), default=0)
    used: set[Any] = set()
    for annotation in annotations:
        if annotation["id"] is None or annotation["id"] in used:
            annotation["id"], unused = unused, unused + 1
        used.add(annotation["id"])


def region_key(annotation_id: object) -> str:
    """Key of the region that suggests an annotation."""
    return f"ovps:{annotation_id}"


def _category(
    region: Region, image: Mapping[str, Any], categories: Mapping[str, Mapping[str, Any]]
) -> Mapping[str, Any]:
    if region.label not in categories:
        raise DatasetError(
            f"{image['file_name']}: the label {region.label!r} is not a category of the data set; it has "
            f"{', '.join(categories)}"
        )
    return categories[region.label]


@dataclass(frozen=True)
class _Suggestion:
    """An annotation that a picture had, and its mask bool [H, W]."""

    annotation: Mapping[str, Any]
    mask: NDArray[np.bool_]

    def accepted_mask(self, region: Region) -> NDArray[np.bool_] | None:
        """The mask if a person left it as it was, else None."""
        if mask_iou(self.mask, region.mask) >= SAME:
            return region.mask
        # earlier versions showed any mask by its coarse outlines
        if region.is_outline and mask_iou(outlined(self.mask), region.mask) >= SAME:
            return self.mask
        return None


def _annotation(
    submission: Submission,
    region: Region,
    closest: _Suggestion | None,
    image: Mapping[str, Any],
    category: Mapping[str, Any],
) -> dict[str, Any]:
    source: Mapping[str, Any] = {} if closest is None else closest.annotation
    by_model, same_label = is_pseudo_label(source), source.get("category_id") == category["id"]
    mask = region.mask
    origin: Origin | None = "corrected" if source else "drawn"
    inherited = {k: v for k, v in source.items() if k not in (*_OF_THE_MODEL, "origin")}
    inherited |= {"annotator": submission.annotator, "annotated_at": submission.annotated_at}
    if source and not same_label:  # the words are those of the new category
        words = {**dict.fromkeys(("object", "part"), ""), **category, "query": region.label}
        inherited |= {key: words[key] for key in _WORDS if key in inherited}
    accepted = closest.accepted_mask(region) if closest is not None and same_label else None
    if accepted is not None:
        mask, origin = accepted, source.get("origin", "model" if by_model else None)
        if all(source.get(key) for key in _BY_WHOM):
            inherited |= {key: source[key] for key in _BY_WHOM}
    return {
        **inherited,
        "id": source.get("id"),
        "image_id": image["id"],
        "category_id": category["id"],
        "bbox": list(Box.of_mask(mask).xywh),
        "area": int(mask.sum()),
        "iscrowd": source.get("iscrowd", 0) if same_label and not by_model else 0,
        "segmentation": encode_segmentation(mask),
        **({} if origin is None else {"origin": origin}),
    }


def _decoded(
    annotations: Sequence[Mapping[str, Any]],
    regions: Sequence[Region],
    image: Mapping[str, Any],
    folder: Path,
) -> list[_Suggestion]:
    """The annotations of a picture that have a mask; none if they are compared with no region."""
    suggestions = []
    for annotation in filter(has_mask, annotations if regions else ()):
        source = f"{image['file_name']}, annotation {annotation['id']}"
        height, width = regions[0].mask.shape
        mask = decode_annotation(annotation, folder / ANNOTATIONS, height, width, source)
        suggestions.append(_Suggestion(annotation, mask))
    return suggestions


def _closest(region: Region, suggestions: Sequence[_Suggestion]) -> _Suggestion | None:
    """The suggestion that a region was, by its key or its place."""
    best, most = None, _CORRECTED
    for suggestion in suggestions:
        if region.key == region_key(suggestion.annotation["id"]):
            return suggestion
        overlap = mask_iou(suggestion.mask, region.mask)
        if overlap >= most:
            best, most = suggestion, overlap
    return best
