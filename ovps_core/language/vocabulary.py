"""Vocabularies of data sets: objects, parts, and what is held out of training."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovps_core.errors import DatasetError

IGNORE = -1
"""Label of a pixel without an object or a part; the value in the data set's own files may differ."""
UNKNOWN = -2
"""Label of a pixel that may show an object or a part, or none: neither losses nor scores count it."""


@dataclass(frozen=True)
class Vocabulary:
    """Objects, their parts, and the split of the (object, part) classes into seen and unseen.

    Name lists for a model are sorted in Python's string order (upper case first); (object, part)
    classes keep the order of the data set, because its label maps index them.

    Attributes:
        name: "pascal_part_116".
        objects: every object of the data set, in its order; some have no parts.
        object_parts: (object, part) classes, in the order that the data set's label maps index.
        unseen_objects: objects that are kept out of training.
        ignore_label: value of an unlabelled pixel in the data set's own files.
        unseen_object_parts: single classes that are kept out of training, beside those of unseen objects.
    """

    name: str
    objects: tuple[str, ...]
    object_parts: tuple[tuple[str, str], ...]
    unseen_objects: frozenset[str] = frozenset()
    ignore_label: int = 255
    unseen_object_parts: frozenset[tuple[str, str]] = frozenset()

    @cached_property
    def parts(self) -> tuple[str, ...]:
        """The P part names, sorted, each once."""
        return tuple(sorted({part for _, part in self.object_parts}))

    @cached_property
    def objects_with_parts(self) -> tuple[str, ...]:
        """The O objects that have a part, sorted."""
        return tuple(sorted({name for name, _ in self.object_parts}))

    @cached_property
    def part_index(self) -> NDArray[np.int64]:
        """Position of the part of each class in :attr:`parts`, int64 [T]."""
        return np.array([self.parts.index(part) for _, part in self.object_parts], dtype=np.int64)

    @cached_property
    def object_index(self) -> NDArray[np.int64]:
        """Position of the object of each class in :attr:`objects_with_parts`, int64 [T]."""
        positions = [self.objects_with_parts.index(name) for name, _ in self.object_parts]
        return np.array(positions, dtype=np.int64)

    @cached_property
    def is_seen(self) -> NDArray[np.bool_]:
        """Mask bool [T] of the classes that training sees."""
        return np.array(
            [
                pair[0] not in self.unseen_objects and pair not in self.unseen_object_parts
                for pair in self.object_parts
            ],
            dtype=bool,
        )

    @property
    def seen_indices(self) -> NDArray[np.int64]:
        """Positions of the seen classes in :attr:`object_parts`."""
        return np.flatnonzero(self.is_seen)

    @cached_property
    def object_part_names(self) -> tuple[str, ...]:
        """Phrase of each class, such as "knife handle"."""
        return tuple(f"{name} {part}" for name, part in self.object_parts)

    def seen(self) -> Vocabulary:
        """The vocabulary without its unseen objects and classes, for training."""
        return replace(
            self,
            objects=tuple(name for name in self.objects if name not in self.unseen_objects),
            object_parts=tuple(self.object_parts[row] for row in self.seen_indices),
            unseen_objects=frozenset(),
            unseen_object_parts=frozenset(),
        )


def vocabulary_names() -> tuple[str, ...]:
    """Names of the vocabularies that come with the package."""
    folder = files("ovps_core.language") / "resources" / "vocabularies"
    return tuple(
        sorted(f.name.removesuffix(".json") for f in folder.iterdir() if f.name.endswith(".json"))
    )


def read_packaged(name: str) -> Mapping[str, Any]:
    """Read the packaged JSON file of one vocabulary, without changes.

    Raises:
        DatasetError: no vocabulary has that name.
    """
    if name not in vocabulary_names():
        known = ", ".join(vocabulary_names())
        raise DatasetError(f"There is no vocabulary {name!r}; the package has: {known}.")
    content: Mapping[str, Any] = json.loads(
        (files("ovps_core.language") / "resources" / "vocabularies" / f"{name}.json").read_text(
            encoding="utf-8"
        )
    )
    return content


def load_vocabulary(name: str) -> Vocabulary:
    """Load a packaged vocabulary, such as ``load_vocabulary("pascal_part_116")``.

    Raises:
        DatasetError: no vocabulary has that name.
    """
    content = read_packaged(name)
    return Vocabulary(
        name=content["name"],
        objects=tuple(content["objects"]),
        object_parts=tuple((pair[0], pair[1]) for pair in content["object_parts"]),
        unseen_objects=frozenset(content["unseen_objects"]),
        ignore_label=content["ignore_label"],
    )
