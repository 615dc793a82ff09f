"""Pose and extents of a part in 3D, as a frozen value."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ovps_core.structures.query import PartQuery


@dataclass(frozen=True)
class Part3D:
    """Pose and extents of one part.

    Attributes:
        id, track_id, query, score, object_id: as in the :class:`~ovps_core.structures.masks.PartMask` that was
            measured.
        pose: float64 [4, 4], part to camera; origin in the part's centre, x along its longest
            extent, z out of the surface to the camera, right-handed.
        size: float64 [3], extents along x, y, z, metres; along z only the visible extent.
        depth_coverage: share of the mask's pixels with usable depth, 0..1.
        indices: uint32 [N], row * width + column of those pixels.
    """

    id: int
    track_id: int
    query: PartQuery
    score: float
    pose: NDArray[np.float64]
    size: NDArray[np.float64]
    depth_coverage: float
    indices: NDArray[np.uint32] = field(repr=False)
    object_id: int = 0

    @property
    def position(self) -> NDArray[np.float64]:
        """The centre, float64 [3], metres."""
        return self.pose[:3, 3]

    @property
    def quaternion(self) -> NDArray[np.float64]:
        """The rotation, float64 [4] as x, y, z, w with w >= 0."""
        from scipy.spatial.transform import Rotation

        return Rotation.from_matrix(self.pose[:3, :3]).as_quat(canonical=True)
