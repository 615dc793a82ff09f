"""Labels of people merged into a data set's annotations: which mask came from whom, how and when.

Each annotation of a picture that a person submitted has these keys:

``origin``
    "model": accepted as suggested; "propagated": accepted as carried from another frame; "corrected": a suggestion
    that was changed; "drawn": made by hand.
``annotator``, ``annotated_at``
    who submitted the picture, and when (ISO 8601).

The picture itself says with ``neg_category_ids`` (LVIS) which categories it does not show.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ovps_core.datasets.coco_check import NEGATIVE, NOT_EXHAUSTIVE
from ovps_core.datasets.coco_folder import PSEUDO_LABEL
from ovps_core.datasets.segmentations import decode_segmentation, encode_segmentation
from ovps_core.errors import DatasetError
from ovps_core.labelling.regions import Region
from ovps_core.structures.boxes import Box
from ovps_core.structures.masks import mask_iou

Origin = Literal["model", "propagated", "corrected", "drawn"]
PROPAGATED: Origin = "propagated"
"""Origin of a mask that :mod:`ovps_core.labelling.spread` carried from another frame."""
_SAME = 0.98  # IoU of a mask that a person left as it was; a polygon loses some pixels on the way
_CORRECTED = 0.3  # least IoU of a changed suggestion
_OF_THE_MODEL = (PSEUDO_LABEL, "score", "agreement", "id", "bbox", "area", "segmentation", "mask")
_WORDS = ("object", "part", "query")


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
    coco: Mapping[str, Any], submissions: Sequence[Submission]
) -> tuple[dict[str, Any], Counter[str]]:
    """Annotations of a data set with those of submitted pictures replaced; other pictures keep theirs.

    A person who submits a picture has looked at all of it, so that afterwards every instance of its categories is
    annotated (``not_exhaustive_category_ids`` is empty), and it shows no category without a mask
    (``neg_category_ids``). A category that came after the submission is in neither. Merging twice gives the same
    file.

    Args:
        coco: content of ``annotations.json``.
        submissions: at most one for each picture.

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
        for given in submission.regions:
            region = replace(given, key="") if have_moved else given  # keys have the ids of then
            annotation = _annotation(submission, region, earlier[image["id"]], image, categories)
            counts[annotation["origin"]] += 1
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


def _annotation(
    submission: Submission,
    region: Region,
    suggestions: Sequence[Mapping[str, Any]],
    image: Mapping[str, Any],
    categories: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    if region.label not in categories:
        raise DatasetError(
            f"{image['file_name']}: the label {region.label!r} is not a category of the data set; it has "
            f"{', '.join(categories)}"
        )
    category = categories[region.label]
    source, overlap = _closest(region, suggestions, str(image["file_name"]))
    same_label = source is not None and source["category_id"] == category["id"]
    origin: Origin = "drawn" if source is None else "corrected"
    inherited: dict[str, Any] = {}
    if source is not None:
        inherited = {k: v for k, v in source.items() if k not in _OF_THE_MODEL}
        if not same_label:  # the words are those of the new category
            words = {**dict.fromkeys(("object", "part"), ""), **category, "query": region.label}
            inherited |= {key: words[key] for key in _WORDS if key in inherited}
        if overlap >= _SAME and same_label:
            origin = source.get("origin", "model")
    return {
        **inherited,
        "id": None if source is None else source["id"],
        "image_id": image["id"],
        "category_id": category["id"],
        "bbox": list(Box.of_mask(region.mask).xywh),
        "area": int(region.mask.sum()),
        "iscrowd": 0,
        "segmentation": encode_segmentation(region.mask),
        "origin": origin,
        "annotator": submission.annotator,
        "annotated_at": submission.annotated_at,
    }


def _closest(
    region: Region, suggestions: Sequence[Mapping[str, Any]], source: str
) -> tuple[Mapping[str, Any] | None, float]:
    """The suggestion that a region was, by its key or its place, and their IoU."""
    best: tuple[Mapping[str, Any] | None, float] = (None, 0.0)
    for suggestion in suggestions:
        if not suggestion.get("segmentation"):
            continue
        height, width = region.mask.shape
        mask = decode_segmentation(suggestion["segmentation"], height, width, source)
        overlap = mask_iou(mask, region.mask)
        if region.key == region_key(suggestion["id"]):
            return suggestion, overlap
        if overlap >= max(_CORRECTED, best[1]):
            best = suggestion, overlap
    return best
