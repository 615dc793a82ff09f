"""Reader of a folder of labelled photographs with a COCO ``annotations.json``.

::

    DIR/annotations.json
    DIR/*.jpg ...          each "file_name" is relative to DIR or to DIR/images

or, as CVAT exports it, DIR/annotations/instances_SUBSET.json with pictures in DIR/images or DIR/images/SUBSET.

A category has ``object`` and ``part`` instead of ``name``: {"id": 3, "object": "mug", "part": "handle"}.
One of the two may be empty. An annotation has a ``segmentation`` (polygons or run lengths) or a ``mask``:
the path, relative to DIR, of a PNG whose nonzero pixels show the part.

PACO names its categories ``mug`` and ``mug:handle``, under the supercategories OBJECT and PART, and ties parts to
their object by ``obj_ann_id``; both are read.

Files whose categories have only a ``name``, such as ``front_left_door``, can be read as parts of one
object that the caller names, or each name as a phrase: "valve wheel".

A category without annotation in an image is absent there. In files that follow LVIS it is so only where
the image has it in ``neg_category_ids``; one in ``not_exhaustive_category_ids`` is not scored.

An annotation with ``"iscrowd": 1`` is a region, not a mask: its category is not scored in that image, and its
pixels stay unlabelled.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovps_core.datasets.coco_categories import ObjectPart, read_categories, read_id
from ovps_core.datasets.coco_check import CocoCheck, FolderImage
from ovps_core.datasets.coco_problems import Problem, refuse
from ovps_core.datasets.label_files import read_json
from ovps_core.datasets.segmentations import decode_segmentation
from ovps_core.errors import DatasetError, ImageError
from ovps_core.structures.image_files import load_image, load_labels

ANNOTATIONS = "annotations.json"
"""Name of the COCO file in a folder."""
PSEUDO_LABEL = "pseudo_label"
"""Key of an annotation that a model made; it is true."""
_NAMED = 8  # files that a message names
_LISTS = ("images", "annotations", "categories")


def is_pseudo_label(annotation: Mapping[str, Any]) -> bool:
    """Return whether a model made an annotation: it is marked so, or has a score."""
    return bool(annotation.get(PSEUDO_LABEL)) or "score" in annotation


def has_mask(annotation: Mapping[str, Any]) -> bool:
    """Return whether an annotation has a mask, as a segmentation or as a file."""
    return bool(annotation.get("mask") or annotation.get("segmentation"))


def decode_annotation(
    annotation: Mapping[str, Any], table: Path, height: int, width: int, source: str
) -> NDArray[np.bool_]:
    """Decode the mask of an annotation, bool [height, width].

    Args:
        annotation: with a segmentation or a mask file, which is read if it has both.
        table: the COCO file that the annotation is in.
        height, width: size of the image, pixels.
        source: image and annotation, for the message.

    Raises:
        DatasetError: the segmentation cannot be read, or the mask differs in size.
        ImageError: the mask file cannot be read.
    """
    if not annotation.get("mask"):
        return decode_segmentation(annotation["segmentation"], height, width, source)
    mask = load_labels(_mask_path(table, str(annotation["mask"]))) != 0
    if mask.shape != (height, width):
        raise DatasetError(
            f"{source}: {annotation['mask']} has the size {mask.shape}, but its image "
            f"({height}, {width}) (height, width)."
        )
    return np.asarray(mask)


def _folders(table: Path) -> list[Path]:
    """Folders to which names in a COCO file are relative: images of train.json are in train/ or beside it."""
    own = table.with_suffix("")
    return [own, table.parent] if own.is_dir() else [table.parent]


def _mask_path(table: Path, name: str) -> Path:
    candidates = [folder / name for folder in _folders(table)]
    return next(filter(os.path.isfile, candidates), candidates[0])


class CocoFolder:
    """A folder of photographs with COCO annotations of parts, checked as a whole.

    Attributes:
        directory: the folder of the images.
        categories: every (object, part) in the file, sorted.
        images: in the order of the file.
        problems: what is left out, each with its place; empty without ``skip_broken``.
        pseudo_labels: number of annotations that a model made.
        unlabelled: number of pictures that ``labelled_only`` left out.
        crowds: number of annotations that are regions of a crowd.
    """

    def __init__(
        self,
        directory: str | Path,
        *,
        object_name: str = "",
        skip_broken: bool = False,
        pseudo_labels: bool = False,
        labelled_only: bool = False,
        objects: Collection[str] | None = None,
    ) -> None:
        """Read and check the annotations and the sizes of all images; pixels are read on demand.

        Args:
            directory: the folder, or a COCO file beside its images or beside a folder of its own name.
            object_name: object of the categories that have only a ``name``; that ``name`` becomes the
                part, with spaces for underscores and without the object. Background is no part.
            skip_broken: leave out what is broken and list it in :attr:`problems`.
            pseudo_labels: use annotations that a model made like drawn ones.
            labelled_only: leave out pictures that nobody has labelled: those with annotations that a model made,
                unless these are used, and those without any at which no person has looked.
            objects: read categories that have only a ``name`` as phrases, such as "valve wheel", also of these
                objects; without it they need ``object_name``.

        Raises:
            DatasetError: the folder, its annotations or its images differ from the module's description. The
                message lists all problems.
        """
        path = Path(directory)
        self._table = path if path.suffix == ".json" else path / ANNOTATIONS
        self.directory = _folders(self._table)[0]
        self.skip_broken = skip_broken
        content = self._read_table()
        problems: list[Problem] = []
        used = frozenset(
            number
            for annotation in content["annotations"]
            if isinstance(annotation, dict)
            and (number := read_id(annotation.get("category_id"))) is not None
        )
        categories = read_categories(
            content["categories"], used, object_name.strip(), problems, objects
        )
        check = CocoCheck(partial(_mask_path, self._table), self._image_path, categories, problems)
        images = check.images(content["images"], content["annotations"])
        if not skip_broken:
            refuse(self._table, problems)
        self.problems, self.crowds = tuple(problems), check.crowds
        self._follows_lvis = any(i.absent is not None or i.says_what_is_complete for i in images)
        self._category = categories.by_id
        self.categories = tuple(sorted(set(categories.by_id.values())))
        self.unlabelled = 0
        if labelled_only:
            images = self._labelled(images, pseudo_labels)
        self.images = tuple(images)
        self.pseudo_labels = self._count_pseudo_labels(pseudo_labels)

    @property
    def annotated(self) -> frozenset[ObjectPart]:
        """Categories of which some image has an annotation."""
        return frozenset().union(*map(self._annotated_in, self.images))

    def read(self, image: FolderImage) -> NDArray[np.uint8]:
        """Read a photograph as RGB uint8 [H, W, 3], upright.

        Raises:
            ImageError: the file is damaged.
        """
        return load_image(image.path)

    def masks(
        self, image: FolderImage, height: int, width: int
    ) -> dict[ObjectPart, NDArray[np.bool_]]:
        """Decode the mask bool [height, width] of each category in an image.

        Several annotations of one category are united.

        Raises:
            DatasetError: a segmentation cannot be read, or a mask differs in size.
            ImageError: a mask file cannot be read.
        """
        masks: dict[ObjectPart, NDArray[np.bool_]] = {}
        for annotation in image.annotations:
            category = self._category[annotation["category_id"]]
            source = f"{image.name}, annotation {annotation.get('id', '?')}"
            mask = decode_annotation(annotation, self._table, height, width, source)
            masks[category] = masks[category] | mask if category in masks else mask
        return masks

    def instances(
        self, image: FolderImage, height: int, width: int
    ) -> Iterator[tuple[Any, ObjectPart, NDArray[np.bool_]]]:
        """Decode each annotation: the id of its object, its category, its mask bool [height, width].

        Parts of one object share the id, the annotation's ``instance`` (in PACO ``obj_ann_id``) as it is in the
        file; None without one.

        Raises:
            DatasetError: a segmentation cannot be read, or a mask differs in size.
            ImageError: a mask file cannot be read.
        """
        for annotation in image.annotations:
            source = f"{image.name}, annotation {annotation.get('id', '?')}"
            mask = decode_annotation(annotation, self._table, height, width, source)
            category = self._category[annotation["category_id"]]
            yield annotation.get("instance", annotation.get("obj_ann_id")), category, mask

    def background(self, image: FolderImage, height: int, width: int) -> NDArray[np.bool_]:
        """Mask bool [height, width] of what is labelled "background": pixels known to show no part.

        Raises:
            DatasetError: a segmentation cannot be read, or a mask differs in size.
            ImageError: a mask file cannot be read.
        """
        mask = np.zeros((height, width), bool)
        for annotation in image.background:
            source = f"{image.name}, annotation {annotation.get('id', '?')}"
            mask |= decode_annotation(annotation, self._table, height, width, source)
        return mask

    def exhaustive(self, image: FolderImage) -> frozenset[ObjectPart]:
        """Categories of which an image has no instance without an annotation.

        In a file without the keys of LVIS these are all, as in evaluation, unless a model made the annotations.
        Else they are the annotated ones that ``not_exhaustive_category_ids`` leaves out, and the ones in
        ``neg_category_ids``. A file without the former says nothing of annotated categories.
        """
        if not self._follows_lvis:
            by_hand = image.is_intact and not any(map(is_pseudo_label, image.annotations))
            return frozenset(self.categories) if by_hand else frozenset()
        annotated = self._annotated_in(image)
        complete = annotated - image.unknown if image.says_what_is_complete else set()
        return frozenset(complete | ((image.absent or frozenset()) - annotated - image.unknown))

    def scored(self, image: FolderImage) -> tuple[ObjectPart, ...]:
        """Categories to ask of an image: those that it shows, and those that it is known not to show."""
        annotated = self._annotated_in(image)
        absent = {category for category in self.categories if image.is_absent(category)}
        return tuple(sorted((annotated - image.unknown) | (absent - annotated)))

    def _annotated_in(self, image: FolderImage) -> set[ObjectPart]:
        return {self._category[annotation["category_id"]] for annotation in image.annotations}

    def leave_out_damaged(self) -> None:
        """Decode every photograph once, and keep those that can be read.

        A long training calls it before its first step.

        Raises:
            DatasetError: some cannot be read and ``skip_broken`` is False; the message lists them.
        """
        damaged: dict[str, Problem] = {}
        for image in self.images:
            try:
                self.read(image)
            except ImageError as error:
                damaged[image.name] = Problem(f"image {image.name}", str(error))
        if not self.skip_broken:
            refuse(self._table, tuple(damaged.values()))
        self.problems += tuple(damaged.values())
        self.images = tuple(image for image in self.images if image.name not in damaged)

    def _read_table(self) -> Mapping[str, list[Any]]:
        if not self._table.is_file():
            folder = self._table.parent
            others = sorted({*folder.glob("*.json"), *folder.glob("annotations/*.json")})
            if others:
                raise DatasetError(
                    f"{self._table} is missing. If one of these is the COCO file, name it instead of the folder: "
                    f"{', '.join(map(str, others[:_NAMED]))}"
                )
            raise DatasetError(
                f"{self._table} is missing. Expected a folder of images with a COCO {ANNOTATIONS} whose "
                'categories look like {"id": 1, "object": "mug", "part": "handle"}.'
            )
        content = read_json(self._table)
        kind = type(content).__name__
        if not isinstance(content, dict):
            raise DatasetError(
                f"{self._table} holds a {kind}; a COCO file is an object with the lists {', '.join(_LISTS)}."
            )
        absent = [key for key in _LISTS if not isinstance(content.get(key), list)]
        if absent:
            raise DatasetError(
                f"{self._table} has no {', '.join(absent)}; a COCO file has the lists {', '.join(_LISTS)}."
            )
        return content

    def _image_path(self, file_name: str) -> Path:
        names = dict.fromkeys([file_name, file_name.replace("\\", "/")])  # Windows tools write \
        folders = [path for each in _folders(self._table) for path in (each / "images", each)]
        if self._table.parent.name == "annotations":  # as CVAT exports
            above, subset = self._table.parents[1], self._table.stem.removeprefix("instances_")
            folders = [above / "images" / subset, above / "images", above / subset, *folders]
        candidates = [folder / name for name in names for folder in folders]
        # Unlike pathlib, os.path takes any name.
        return next(filter(os.path.isfile, candidates), self.directory / [*names][-1])

    def _labelled(self, images: list[FolderImage], pseudo_labels: bool) -> list[FolderImage]:
        """The pictures that a person has labelled.

        Raises:
            DatasetError: there are none.
        """
        labelled = [
            image
            for image in images
            if image.is_labelled
            and (pseudo_labels or not any(map(is_pseudo_label, image.annotations)))
        ]
        self.unlabelled = len(images) - len(labelled)
        if images and not labelled:
            raise DatasetError(
                f"{self._table}: nobody has labelled any of the {len(images)} pictures yet. Label some with "
                f"`ovps label open {self._table.parent}` and `ovps label save {self._table.parent}`, or use masks "
                "that a model made: `ovps evaluate --pseudo-labels`, `ovps train --set data.pseudo_labels=true`."
            )
        return labelled

    def _count_pseudo_labels(self, allowed: bool) -> int:
        """Number of annotations that a model made.

        Raises:
            DatasetError: there are some, and they are not ``allowed``.
        """
        everything = [annotation for image in self.images for annotation in image.annotations]
        made = [annotation for annotation in everything if is_pseudo_label(annotation)]
        if made and not allowed:
            raise DatasetError(
                f"{self._table}: {len(made)} of {len(everything)} annotations are pseudo-labels: a model made "
                f"them (annotation {made[0].get('id', '?')} is the first). A score against them says how far two "
                "models agree, not how far one is right; the model that made them gets 100 %. Correct them in a "
                f'labelling tool and remove "{PSEUDO_LABEL}" and "score" from what you corrected, or say that you '
                "mean it: `ovps evaluate --pseudo-labels`, `ovps train --set data.pseudo_labels=true`. "
                "`ovps evaluate --labelled-only` scores the pictures that a person has labelled."
            )
        return len(made)
