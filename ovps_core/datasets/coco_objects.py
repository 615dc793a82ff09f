"""Reader of COCO files with objects: instances, panoptic segments, or boxes only.

::

    DIR/instances.json                 "categories" have a name, "annotations" a bbox and perhaps a segmentation
    DIR/panoptic.json, DIR/panoptic/   "annotations" have segments_info and the file_name of a PNG of segment ids

A folder without a file's name means its ``annotations.json``. Images are in a folder that the caller names, in a
folder with the name of the JSON file without "panoptic_" or "instances_" (beside the file or one folder above),
beside the file, or in ``images`` there. A category with ``"isthing": 0`` is stuff.

Files of LVIS and Objects365 have the same form. LVIS names images by their ``coco_url``. Objects365 lists
``images/v1/patch8/a.jpg`` for a picture that its archives unpack to ``patch8/a.jpg``.
"""

from __future__ import annotations

import contextlib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovps_core.datasets.coco_check import NEGATIVE, NOT_EXHAUSTIVE, crowd_fault, is_crowd
from ovps_core.datasets.coco_folder import ANNOTATIONS, is_pseudo_label
from ovps_core.datasets.label_files import read_json, require_files
from ovps_core.datasets.labelled_objects import LabelledObjects, ObjectDataset
from ovps_core.datasets.segmentations import decode_segmentation
from ovps_core.errors import DatasetError, OvpsError
from ovps_core.structures.boxes import Box
from ovps_core.structures.image_files import load_image

_UNPUBLISHED = frozenset(
    {"objects365_v1_00320532.jpg", "objects365_v1_00320534.jpg", "objects365_v2_00908726.jpg"}
)
"""Pictures that Objects365 lists, but does not publish."""
_LVIS_DETECTIONS = 300


@dataclass(frozen=True)
class CocoImage:
    """One image of a file.

    Attributes:
        path: the picture.
        entry: what the file says about it.
        annotations: of the image.
    """

    path: Path
    entry: Mapping[str, Any] = field(repr=False)
    annotations: tuple[dict[str, Any], ...] = field(repr=False)


@dataclass
class _Objects:
    """The objects of one image while they are read."""

    labels: list[int] = field(default_factory=list)
    boxes: list[list[float]] = field(default_factory=list)
    masks: list[NDArray[np.bool_]] = field(default_factory=list)
    crowds: list[bool] = field(default_factory=list)
    pseudo: list[bool] = field(default_factory=list)
    areas: list[float] = field(default_factory=list)


class CocoObjects(ObjectDataset):
    """Objects of a COCO file, read on demand.

    If any image has ``neg_category_ids``, the file follows LVIS (Gupta et al., CVPR 2019): a category is scored in
    the images only that have it or list it there.

    Attributes:
        images: in the order of the file.
        categories: as the file lists them.
        label_of_id: row of :attr:`names` of each category id.
        frequencies: "r", "c" or "f" of each name, rare to frequent; empty if the file does not say.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        images: str | Path | None = None,
        for_evaluation: bool = False,
    ) -> None:
        """Read and check the annotations.

        Args:
            path: the JSON file, or its folder.
            images: folder of the images; see the module for where they are looked for without it.
            for_evaluation: keep crowds, and boxes and areas as they are annotated, which benchmarks score against.
                Otherwise crowds are left out, and boxes are those of the masks that people drew.

        Raises:
            DatasetError: the file or the images are missing, or the file differs from the module's description.
        """
        self.source = Path(path)
        if self.source.suffix != ".json":
            self.source /= ANNOTATIONS
        self._for_evaluation = for_evaluation
        content = read_json(self.source)
        expected = {"images", "annotations", "categories"}
        absent = expected - set(content if isinstance(content, dict) else ())
        if absent:
            raise DatasetError(
                f"{self.source} has no {', '.join(sorted(absent))}; a COCO file has images, annotations "
                "and categories."
            )
        with _refusing(self.source):
            self._read_lists(content, images)
            maps = self._panoptic_maps()
        require_files((*(image.path for image in self.images), *maps), f"{self.source} lists it")

    def _read_lists(self, content: dict[str, Any], images: str | Path | None) -> None:
        self.categories = tuple(content["categories"])
        self.things = _names(self.categories, thing=True)
        self.stuff = _names(self.categories, thing=False)
        rows = {name: row for row, name in enumerate(self.names)}
        self.label_of_id = {entry["id"]: rows[_name(entry)] for entry in self.categories}
        self.frequencies = {
            _name(entry): str(entry["frequency"])
            for entry in self.categories
            if entry.get("frequency")
        }
        annotations = content["annotations"]
        self._panoptic = any("segments_info" in each for each in annotations)
        self.has_regions = self._panoptic
        self.has_masks = self._panoptic or all(each.get("segmentation") for each in annotations)
        self.pseudo_labels = sum(map(is_pseudo_label, annotations))
        by_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
        for each in annotations:
            by_image[each["image_id"]].append(each)
        entries = [each for each in content["images"] if not _is_unpublished(each)]
        paths = self._image_paths(images, entries)
        self.images = tuple(
            CocoImage(path, entry, tuple(by_image[entry["id"]]))
            for path, entry in zip(paths, entries, strict=True)
        )
        self._is_federated = any(NEGATIVE in entry for entry in entries)
        if self._is_federated:
            self.max_detections = _LVIS_DETECTIONS

    def __len__(self) -> int:
        return len(self.images)

    def read(self, index: int) -> LabelledObjects:
        """See :meth:`ObjectDataset.read`."""
        image = self.images[index]
        pixels = load_image(image.path)
        height, width = pixels.shape[:2]
        found = _Objects()
        with _refusing(f"{self.source}, {image.path.name}"):
            if self._panoptic:
                self._add_segments(found, image, height, width)
            else:
                self._add_instances(found, image, height, width)
            incomplete = self._listed(image, NOT_EXHAUSTIVE)
            checked = self._listed(image, NEGATIVE) | incomplete | frozenset(found.labels)
        masks = np.stack(found.masks) if found.masks else np.zeros((0, height, width), dtype=bool)
        return LabelledObjects(
            pixels,
            np.array(found.labels, dtype=np.int64),
            np.array(found.boxes, dtype=np.float32).reshape(-1, 4),
            masks if self.has_masks else None,
            np.array(found.areas, dtype=np.float64),
            np.array(found.crowds, dtype=bool),
            np.array(found.pseudo, dtype=bool),
            checked if self._is_federated else None,
            incomplete,
        )

    def _listed(self, image: CocoImage, key: str) -> frozenset[int]:
        """Labels whose categories an image lists under a key."""
        return frozenset(self.label_of_id[number] for number in image.entry.get(key, ()))

    def _add_instances(self, found: _Objects, image: CocoImage, height: int, width: int) -> None:
        for each in image.annotations:
            source = f"{image.path.name}, annotation {each.get('id', '?')}"
            mask = None
            if self.has_masks:
                mask = decode_segmentation(each["segmentation"], height, width, source)
            self._add(found, each, mask, source)

    def _add_segments(self, found: _Objects, image: CocoImage, height: int, width: int) -> None:
        for annotation in image.annotations:
            path = self._panoptic_map(annotation)
            coloured = load_image(path)
            if coloured.shape[:2] != (height, width):
                raise DatasetError(
                    f"{path} is {coloured.shape[0]}x{coloured.shape[1]}, its image {height}x{width} (height x "
                    "width); a panoptic PNG has the size of its image."
                )
            ids = coloured.astype(np.int64) @ np.array([1, 256, 256**2])
            for each in annotation["segments_info"]:
                self._add(found, each, ids == each["id"], annotation["file_name"])

    def _panoptic_maps(self) -> list[Path]:
        """The PNGs of all annotations of a panoptic file."""
        if not self._panoptic:
            return []
        return [self._panoptic_map(each) for image in self.images for each in image.annotations]

    def _panoptic_map(self, annotation: dict[str, Any]) -> Path:
        return self.source.with_suffix("") / str(annotation["file_name"])

    def _add(
        self,
        found: _Objects,
        annotation: dict[str, Any],
        mask: NDArray[np.bool_] | None,
        source: str,
    ) -> None:
        """Add an annotation, unless it is an empty mask, or a crowd and not for evaluation."""
        crowd = crowd_of(annotation, source)
        if (crowd and not self._for_evaluation) or (mask is not None and not mask.any()):
            return
        found.labels.append(self.label_of(annotation, source))
        pseudo = is_pseudo_label(annotation)
        annotated = (self._for_evaluation or pseudo) and annotation.get("bbox")
        if mask is None or annotated:
            box = annotated_box(annotation, source)
        else:
            box = [float(side) for side in Box.of_mask(mask).corners]
        area = annotation.get("area") if self._for_evaluation else None
        if area is None:
            area = (box[2] - box[0]) * (box[3] - box[1]) if mask is None else mask.sum()
        found.boxes.append(box)
        found.areas.append(float(area))
        found.crowds.append(crowd)
        found.pseudo.append(pseudo)
        if mask is not None:
            found.masks.append(mask)

    def label_of(self, annotation: Mapping[str, Any], source: str) -> int:
        """Row of :attr:`names` of an annotation.

        Args:
            annotation: as the file lists it.
            source: file and annotation, for the message.

        Raises:
            DatasetError: its category is unknown.
        """
        number = annotation.get("category_id")
        if number not in self.label_of_id:
            raise DatasetError(f"{source}: category_id {number!r} is not among the categories.")
        return self.label_of_id[number]

    def _image_paths(self, images: str | Path | None, entries: list[dict[str, Any]]) -> list[Path]:
        """Path of each entry, in the first folder and by the first rule that lead to the first picture."""
        above = self.source.parent
        stem = self.source.stem.removeprefix("panoptic_").removeprefix("instances_")
        folders = (
            [Path(images)]
            if images
            else [above / stem, above.parent / stem, above, above / "images"]
        )
        for folder in folders:
            for rule in (_by_name, _by_url, _by_patch):
                if not entries or os.path.isfile(folder / rule(entries[0])):
                    return [folder / rule(entry) for entry in entries]
        name = _by_name(entries[0]) or _by_url(entries[0])
        places = " or ".join(map(str, folders))
        raise DatasetError(f"{self.source} lists {name}, which is not in {places}.")


def stuff_names(path: Path) -> tuple[str, ...]:
    """Names of the categories of a COCO file that are stuff.

    Raises:
        DatasetError: the file cannot be read, or differs from the module's description.
    """
    with _refusing(path):
        return _names(read_json(path)["categories"], thing=False)


def _names(categories: Iterable[dict[str, Any]], *, thing: bool) -> tuple[str, ...]:
    """Names of categories of things, or of stuff, each once."""
    chosen = (each for each in categories if bool(each.get("isthing", 1)) is thing)
    return tuple(dict.fromkeys(map(_name, chosen)))


def _by_name(entry: Mapping[str, Any]) -> str:
    """Path of a picture as it is listed; LVIS lists none."""
    return str(entry["file_name"] if "coco_url" not in entry else entry.get("file_name", ""))


def _by_url(entry: Mapping[str, Any]) -> str:
    """Folder and name in COCO's archives, from an address .../val2017/000000000139.jpg."""
    return "/".join(str(entry.get("coco_url", "")).split("/")[-2:])


def _by_patch(entry: Mapping[str, Any]) -> str:
    """Folder and name in Objects365's archives, from images/v1/patch8/name.jpg."""
    return "/".join(_by_name(entry).split("/")[-2:])


def _is_unpublished(entry: Mapping[str, Any]) -> bool:
    return str(entry.get("file_name", "")).rpartition("/")[2] in _UNPUBLISHED


@contextlib.contextmanager
def _refusing(source: str | Path) -> Iterator[None]:
    """Turn the exceptions that entries of another form than COCO's cause into a DatasetError naming ``source``."""
    try:
        yield
    except OvpsError:
        raise
    except KeyError as error:
        raise DatasetError(f"{source}: an entry has no {error}; COCO requires it.") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise DatasetError(f"{source}: an entry is not of COCO's form: {error}.") from error


def crowd_of(annotation: Mapping[str, Any], source: str) -> bool:
    """Whether an annotation is a crowd region; ``source`` is its place, for the message.

    Raises:
        DatasetError: its ``iscrowd`` is neither 0 nor 1.
    """
    fault = crowd_fault(annotation)
    if fault:
        raise DatasetError(f"{source}: {fault}.")
    return is_crowd(annotation)


def annotated_box(annotation: Mapping[str, Any], source: str) -> list[float]:
    """(x1, y1, x2, y2) of the ``bbox`` of an annotation; ``source`` is its place, for the message.

    Raises:
        DatasetError: it has none.
    """
    if len(annotation.get("bbox") or ()) != 4:
        raise DatasetError(f"{source} has neither a segmentation nor a bbox (x, y, width, height).")
    x, y, width, height = map(float, annotation["bbox"])
    return [x, y, x + width, y + height]


def _name(category: dict[str, Any]) -> str:
    """Name of a category; those of part files have an object and a part."""
    both = (str(category.get(key, "")).strip() for key in ("object", "part"))
    return str(category.get("name") or " ".join(filter(None, both))).strip()
