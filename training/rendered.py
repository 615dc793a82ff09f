"""Rendered scenes as labelled images, for models that take any words."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovps_core.datasets.benchmark_reader import LabelledImage
from ovps_core.errors import DatasetError
from ovps_core.language.vocabulary import IGNORE, UNKNOWN, Vocabulary
from ovps_core.synthetic.reader import RenderedScenes
from ovps_core.synthetic.settings import IGNORED

Read = Callable[[], LabelledImage]


def open_rendered(folder: Path, objects: Sequence[str] = ()) -> tuple[list[Read], Vocabulary]:
    """Open a folder of rendered scenes to train on.

    Pixels of an object part that is held out of training keep the label of their object.

    Args:
        folder: the folder.
        objects: names of the objects to learn, all others are background; empty for all.

    Returns:
        One reader per scene, and the vocabulary without the held-out object parts.

    Raises:
        DatasetError: the folder holds no rendered scenes, a part of them is missing, or no scene can show one of
            the objects.
    """
    scenes = RenderedScenes(folder)
    known = sorted({name for name, _ in scenes.object_parts})
    if unknown := sorted(set(objects) - set(known)):
        raise DatasetError(
            f"{folder} has no object {', '.join(unknown)}; `data: objects:` may list {', '.join(known)}"
        )
    held_out = frozenset(scenes.held_out_object_parts)
    vocabulary = _vocabulary(scenes, objects or known, held_out).seen()
    return _readers(scenes, vocabulary), vocabulary


def open_rendered_to_score(folder: Path, trained: Vocabulary) -> tuple[list[Read], Vocabulary]:
    """Open a folder of rendered scenes to score on, with the labels of all parts of the trained objects.

    Args:
        folder: the folder.
        trained: the object parts of the training; other parts of its objects count as unseen.

    Returns:
        One reader per scene, and the vocabulary with the unseen object parts.

    Raises:
        DatasetError: the folder holds no rendered scenes, or a part of them is missing.
    """
    scenes = RenderedScenes(folder)
    unseen = frozenset(scenes.object_parts) - frozenset(trained.object_parts)
    vocabulary = _vocabulary(scenes, trained.objects, unseen)
    return _readers(scenes, vocabulary), vocabulary


def _vocabulary(
    scenes: RenderedScenes, objects: Collection[str], unseen: frozenset[tuple[str, str]]
) -> Vocabulary:
    pairs = tuple(pair for pair in scenes.object_parts if pair[0] in objects)
    names = tuple(sorted({name for name, _ in pairs}))
    return Vocabulary(scenes.folder.name, names, pairs, unseen_object_parts=unseen)


def _readers(scenes: RenderedScenes, vocabulary: Vocabulary) -> list[Read]:
    # Pixel value i + 1 is object part i; 0 and values without a name are background.
    parts, owners = np.full((2, 256), IGNORE, dtype=np.int32)
    for value, pair in enumerate(scenes.object_parts, start=1):
        if pair in vocabulary.object_parts:
            parts[value] = vocabulary.object_parts.index(pair)
        if pair[0] in vocabulary.objects_with_parts:
            owners[value] = vocabulary.objects_with_parts.index(pair[0])
    parts[IGNORED] = owners[IGNORED] = UNKNOWN
    return [partial(_read, scenes, index, parts, owners) for index in range(len(scenes))]


def _read(
    scenes: RenderedScenes, index: int, parts: NDArray[np.int32], owners: NDArray[np.int32]
) -> LabelledImage:
    image, ids, _ = scenes.arrays(index)
    return LabelledImage(np.array(image), owners[ids], parts[ids])
