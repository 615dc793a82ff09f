"""Check of a whole COCO file before its first picture is used."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ovps_core.datasets.coco_categories import Categories, Id, ObjectPart, read_id
from ovps_core.datasets.coco_problems import Problem
from ovps_core.datasets.segmentations import empty_polygons_fault, segmentation_fault
from ovps_core.errors import ImageError
from ovps_core.structures.image_files import image_size, is_stored_sideways

NEGATIVE = "neg_category_ids"
"""Key of an image: categories that were looked for and are not in it (LVIS, Gupta et al., CVPR 2019)."""
NOT_EXHAUSTIVE = "not_exhaustive_category_ids"
"""Key of an image: categories of which some instances are not annotated (LVIS)."""


def is_submitted(image: Mapping[str, Any]) -> bool:
    """Return whether an entry of ``images`` says that a person has looked at the picture.

    It lists what it does not show, or says that nothing is missing. What a model was not asked for is missing
    without anybody having looked.
    """
    return NEGATIVE in image or image.get(NOT_EXHAUSTIVE) == []


def is_crowd(annotation: Mapping[str, Any]) -> bool:
    """Return whether an annotation is a region with several or unclear instances, and no exact mask."""
    return annotation.get("iscrowd") in (1, "1")


def crowd_fault(annotation: Mapping[str, Any]) -> str:
    """Say what is wrong with the ``iscrowd`` of an annotation; "" if it is 0 or 1, as a number or a text."""
    value = annotation.get("iscrowd")
    if value is None or value in (0, 1, "0", "1"):
        return ""
    return f"its iscrowd is {value!r}; expected 0 or 1"


@dataclass(frozen=True)
class FolderImage:
    """One photograph, and what its file says about it.

    Attributes:
        name: its name in the file.
        path: the picture.
        height: of the upright picture, pixels.
        width: of the upright picture, pixels.
        annotations: the usable ones.
        absent: categories that are not in the picture; None if those without annotations are not.
        unknown: categories whose masks are incomplete; they are not scored in this picture.
        is_intact: no annotation of this picture was left out, neither a broken one nor a crowd region, nor may
            one whose picture is not known be of it.
        background: annotations of the category "background": pixels known to show no part.
        says_what_is_complete: the file has ``not_exhaustive_category_ids`` for this picture, so that every
            instance of its other annotated categories is annotated.
        is_submitted: see :func:`is_submitted`.
    """

    name: str
    path: Path
    height: int
    width: int
    annotations: tuple[dict[str, Any], ...] = field(repr=False)
    absent: frozenset[ObjectPart] | None = None
    unknown: frozenset[ObjectPart] = frozenset()
    is_intact: bool = True
    background: tuple[dict[str, Any], ...] = field(default=(), repr=False)
    says_what_is_complete: bool = False
    is_submitted: bool = False

    @property
    def is_labelled(self) -> bool:
        """True if it has annotations, or a person has looked at it."""
        return self.is_submitted or bool(self.annotations or self.background)

    def is_absent(self, category: ObjectPart) -> bool:
        """Return whether the file says that a category without annotations is not in the picture."""
        return category not in self.unknown and (self.absent is None or category in self.absent)


@dataclass(frozen=True)
class _Picture:
    """A usable entry of ``images``."""

    entry: dict[str, Any]
    path: Path
    height: int
    width: int

    @property
    def name(self) -> str:
        return str(self.entry["file_name"])


class CocoCheck:
    """Check of images and annotations.

    Args:
        find_mask: path of a mask from its name in the file.
        find: path of a picture from its name in the file.
        categories: the file's categories.
        problems: those found are added.

    Attributes:
        crowds: number of annotations that are regions of a crowd.
    """

    def __init__(
        self,
        find_mask: Callable[[str], Path],
        find: Callable[[str], Path],
        categories: Categories,
        problems: list[Problem],
    ) -> None:
        self._find_mask, self._find = find_mask, find
        self._categories, self._problems = categories, problems
        self._pictures: dict[Id, _Picture] = {}
        self._image_ids: set[Id] = set()
        self._by_path: dict[Path, Id] = {}
        self._kept: dict[Id, list[dict[str, Any]]] = defaultdict(list)
        self._background: dict[Id, list[dict[str, Any]]] = defaultdict(list)
        self._left_out: dict[Id, set[ObjectPart]] = defaultdict(set)
        self._of_no_image: set[ObjectPart] = set()
        self.crowds = 0

    def images(self, entries: Sequence[Any], annotations: Sequence[Any]) -> list[FolderImage]:
        """The usable images, in the order of the file, with their usable annotations."""
        for position, entry in enumerate(entries):
            self._read_image(position, entry)
        seen: set[Id] = set()
        for position, annotation in enumerate(annotations):
            self._read_annotation(position, annotation, seen)
        federated = any(NEGATIVE in picture.entry for picture in self._pictures.values())
        return [
            self._image(number, picture, federated) for number, picture in self._pictures.items()
        ]

    def _read_image(self, position: int, entry: Any) -> None:
        number = read_id(entry.get("id")) if isinstance(entry, dict) else None
        if number is None:
            self._add(f"image at position {position}", "it has no id")
            return
        name = entry.get("file_name")
        if not isinstance(name, str) or not name:
            self._add(f"image {number}", "it has no file_name")
        elif number in self._image_ids:
            self._add(f"image {number} ({name})", "the id occurs twice")
            self._pictures.pop(number, None)
        else:
            path = self._find(name)
            try:
                picture = _Picture(entry, path, *image_size(path))
                fault = _size_fault(picture)
            except ImageError as error:
                fault = str(error)
            if not os.path.isfile(path):  # nor need its name be one that a file can have
                fault = f"{path} is missing"
            elif (twin := self._by_path.setdefault(path.resolve(), number)) != number:
                fault = f"its file is that of image {twin} too"  # neither has all annotations
                self._pictures.pop(twin, None)
            if fault:
                self._add(f"image {number} ({name})", fault)
            else:
                self._pictures[number] = picture
        self._image_ids.add(number)

    def _read_annotation(self, position: int, annotation: Any, seen: set[Id]) -> None:
        if not isinstance(annotation, dict):
            self._add(f"annotation at position {position}", "it is no JSON object")
            self._of_no_image |= self._may_be(None)
            return
        number, image, category = (
            read_id(annotation.get(key)) for key in ("id", "image_id", "category_id")
        )
        place = f"annotation {f'at position {position}' if number is None else number}"
        picture = None if image is None else self._pictures.get(image)
        fault, crowd = "", is_crowd(annotation)
        if image is None or image not in self._image_ids:
            fault = f"image_id {annotation.get('image_id')!r} is not among the images"
            self._of_no_image |= self._may_be(category)
        elif category is None or category not in self._categories.ids:
            fault = f"category_id {annotation.get('category_id')!r} is not among the categories"
        elif number is not None and number in seen:
            fault = "the id occurs twice"
        elif picture is not None:
            place += f" of {picture.name}"
            fault = crowd_fault(annotation)
            if not (fault or crowd):  # the region of a crowd is no mask
                fault = self._mask_fault(annotation, picture)
        if number is not None:
            seen.add(number)
        if fault:
            self._add(place, fault)
        if image is None or picture is None:
            return
        self.crowds += crowd and not fault
        if category in self._categories.without_part:
            if not fault and not crowd:
                self._background[image].append(annotation)
            return
        if fault or crowd or category not in self._categories.by_id:
            self._left_out[image] |= self._may_be(category)
        else:
            self._kept[image].append({**annotation, "category_id": category})

    def _may_be(self, category: Id | None) -> set[ObjectPart]:
        """Categories that an annotation may show: all of them if its id is not among the file's."""
        by_id = self._categories.by_id
        if category is None or category not in self._categories.ids:
            return set(by_id.values())
        return {by_id[category]} if category in by_id else set()

    def _mask_fault(self, annotation: Mapping[str, Any], picture: _Picture) -> str:
        segmentation, mask = annotation.get("segmentation"), annotation.get("mask")
        if segmentation and not mask:
            size = picture.height, picture.width
            fault = segmentation_fault(segmentation, *size)
            if isinstance(segmentation, list) and not fault:
                fault = empty_polygons_fault(segmentation, *size)
            return fault
        if not mask:
            return "it has neither a segmentation nor a mask"
        if not isinstance(mask, str):
            return f"its mask is {mask!r}; expected the name of a file"
        try:
            size = image_size(self._find_mask(mask))
        except ImageError as error:
            return str(error)
        if size == (picture.height, picture.width):
            return ""
        return (
            f"{mask} has the size {list(size)}, but the picture has "
            f"{[picture.height, picture.width]} (height, width)"
        )

    def _image(self, number: Id, picture: _Picture, federated: bool) -> FolderImage:
        annotations = self._kept[number]
        annotated = {self._categories.by_id[a["category_id"]] for a in annotations}
        place = f"image {number} ({picture.name})"
        unknown = self._listed(picture, NOT_EXHAUSTIVE, place)
        left_out = self._left_out.get(number)
        if left_out is None and not annotations and not self._background[number]:
            left_out = self._of_no_image or None  # any of them may be of this picture
        unknown |= left_out or set()
        absent = self._listed(picture, NEGATIVE, place) if federated else None
        for category in sorted((absent or set()) & annotated):
            self._add(place, f"{category.name!r} is in {NEGATIVE}, but it has an annotation")
            unknown.add(category)
        return FolderImage(
            picture.name,
            picture.path,
            picture.height,
            picture.width,
            tuple(annotations),
            None if absent is None else frozenset(absent),
            frozenset(unknown),
            is_intact=left_out is None,
            background=tuple(self._background[number]),
            says_what_is_complete=NOT_EXHAUSTIVE in picture.entry,
            is_submitted=is_submitted(picture.entry),
        )

    def _listed(self, picture: _Picture, key: str, place: str) -> set[ObjectPart]:
        """Categories whose ids an image lists under ``key``."""
        listed = picture.entry.get(key, [])
        if not isinstance(listed, list):
            self._add(place, f"its {key} is {listed!r}; expected a list of ids of categories")
            return set()
        ids = [read_id(each) for each in listed]
        strangers = [each for each in ids if each is None or each not in self._categories.ids]
        if strangers:
            self._add(place, f"its {key} has {strangers[0]!r}, which is not among the categories")
        by_id = self._categories.by_id
        return {by_id[each] for each in ids if each is not None and each in by_id}

    def _add(self, place: str, text: str) -> None:
        self._problems.append(Problem(place, text))


def _size_fault(picture: _Picture) -> str:
    """Say how ``height`` and ``width`` of an image entry differ from its file; "" if they do not."""
    height, width = picture.height, picture.width
    stated = picture.entry.get("height"), picture.entry.get("width")
    differ = any(
        value is not None and value != side
        for value, side in zip(stated, (height, width), strict=True)
    )
    if not differ:
        return ""
    text = f"the file says {stated[1]!r}x{stated[0]!r}, but the picture has {width}x{height} pixels"
    if stated == (width, height) and is_stored_sideways(picture.path):
        return (
            f"{text} after its EXIF turn. The annotations are of the picture as it is stored: "
            "turn the pixels and remove the EXIF orientation, or annotate it upright"
        )
    return f"{text}. Annotations of another size do not fit; export them at the size of the picture"
