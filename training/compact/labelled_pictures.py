"""Pictures with true masks for queries, from rendered scenes or labelled photographs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ovps_core.datasets.coco_folder import CocoFolder
from ovps_core.evaluation.query_sampler import Group, QuerySampler
from ovps_core.models.compact.config import PartFPNConfig
from ovps_core.structures.query import PartQuery
from ovps_core.synthetic.reader import RenderedScenes, is_rendered

COUNTED = {Group.SEEN, Group.ABSENT_OBJECT, Group.ABSENT_PART}  # held-out object-parts do not count

Truth = NDArray[np.bool_]
Picture = tuple[NDArray[np.uint8], dict[PartQuery, Truth | None]]
"""RGB uint8 [H, W, 3], and the true mask of each query; None for what the picture does not show."""


def labelled_pictures(folder: Path, config: PartFPNConfig, count: int) -> Iterator[Picture]:
    """The first ``count`` pictures of a folder of rendered scenes or of labelled photographs, with queries.

    Raises:
        DatasetError: the folder is neither.
    """
    if is_rendered(folder):
        return _rendered(RenderedScenes(folder), set(config.objects), count)
    return _photographed(CocoFolder(folder, objects=config.objects), config, count)


def _rendered(scenes: RenderedScenes, known: set[str], count: int) -> Iterator[Picture]:
    sampler = QuerySampler(scenes.object_parts, frozenset(scenes.held_out_object_parts))
    for index in range(min(count, len(scenes))):
        rgb, parts, _ = (np.array(array) for array in scenes.arrays(index))
        sampled = sampler.sample(parts, np.random.default_rng(index))
        yield (
            rgb,
            {
                sample.query: sample.truth
                for sample in sampled
                if sample.query.object in known and COUNTED & set(sample.groups)
            },
        )


def _photographed(folder: CocoFolder, config: PartFPNConfig, count: int) -> Iterator[Picture]:
    for image in folder.images[:count]:
        rgb = folder.read(image)
        masks = folder.masks(image, *rgb.shape[:2])
        asked = {c: masks.get(c) for c in folder.scored(image) if c.object in config.objects}
        queries = {
            PartQuery(text=c.name, object=c.object, part=c.part): mask
            for c, mask in asked.items()
            if c.part in (*config.parts, "")
        }
        yield rgb, queries
