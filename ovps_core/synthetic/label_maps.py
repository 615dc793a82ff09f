"""Label maps of a scene that MuJoCo rendered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ovps_core.synthetic.layout import PlacedItem
from ovps_core.synthetic.object_pool import ObjectPool
from ovps_core.synthetic.objects.clutter import CLUTTER
from ovps_core.synthetic.settings import IGNORED

UNSURE = "?"
"""Object name of what may be a known object but has no part labels."""


def label_maps(
    pool: ObjectPool,
    placed: Sequence[PlacedItem],
    geoms: np.ndarray,
    object_part_id: Mapping[tuple[str, str], int],
) -> tuple[np.ndarray, np.ndarray, list[tuple[str, np.ndarray]]]:
    """Convert geom ids to labels.

    Args:
        pool: the object pool that was rendered.
        placed: the objects of the scene.
        geoms: int32 [H, W] MuJoCo geom ids, -1 on empty pixels.
        object_part_id: pixel value of each (object, part).

    Returns:
        Part map uint8 [H, W], object map uint8 [H, W], and each instance's name and pose [4, 4]. UNSURE objects,
        and parts without a pixel value, are IGNORED in the part map.
    """
    # One row more than geoms: the id -1 of empty pixels reads the last row, which stays 0.
    object_part_of_geom = np.zeros(pool.model.ngeom + 1, np.uint8)
    instance_of_geom = np.zeros(pool.model.ngeom + 1, np.uint8)
    instances: list[tuple[str, np.ndarray]] = []
    for p in placed:
        name = p.item.object_name
        if name == CLUTTER:
            continue
        if name == UNSURE:
            object_part_of_geom[list(p.item.geoms)] = IGNORED
            continue
        instances.append((name, p.pose))
        for part, geom in zip(p.item.parts, p.item.geoms, strict=True):
            object_part_of_geom[geom] = object_part_id.get((name, part.part), IGNORED)
            instance_of_geom[geom] = len(instances)
    return object_part_of_geom[geoms], instance_of_geom[geoms], instances
