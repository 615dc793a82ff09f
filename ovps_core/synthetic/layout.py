"""Arrangement of objects on a table, so that their footprints do not overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ovps_core.synthetic.object_pool import PoolItem

TABLE_REACH = 0.45
"""Metres from the table's middle within which objects are put down."""


@dataclass(frozen=True)
class PlacedItem:
    """An item with its pose in a scene.

    Attributes:
        item: the object.
        pose: float64 [4, 4], object frame to world.
        points: float64 [M, 3] metres, the object's convex hull points in the world.
    """

    item: PoolItem
    pose: np.ndarray
    points: np.ndarray


def rotation_about_z(angle: float) -> np.ndarray:
    """Return the rotation [3, 3] about z by ``angle`` radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def are_disjoint(a: np.ndarray, b: np.ndarray) -> bool:
    """Return True if two convex polygons [K, 2] and [M, 2] do not overlap (separating axis theorem)."""
    for polygon in (a, b):
        edge = np.roll(polygon, -1, axis=0) - polygon
        normal = np.stack([-edge[:, 1], edge[:, 0]])
        pa, pb = a @ normal, b @ normal
        if np.any((pa.max(0) < pb.min(0)) | (pb.max(0) < pa.min(0))):
            return True
    return False


def arrange_on_table(
    items: Sequence[PoolItem],
    rng: np.random.Generator,
    already_placed: Sequence[PlacedItem] = (),
    reach: float = TABLE_REACH,
    spacing: float = 0.0,
) -> list[PlacedItem]:
    """Put items on the table beside those that are already placed.

    Each item is pushed from the middle along a random direction until its footprint is free. An
    item that finds no room within ``reach`` metres is left out.

    Args:
        items: the objects.
        rng: draws poses and directions.
        already_placed: objects that keep their places.
        reach: metres from the middle.
        spacing: metres by which the outline of every item is widened, so that neighbours keep a distance.

    Returns:
        ``already_placed`` followed by the items that found room.
    """
    placed = list(already_placed)
    occupied = [cv2.convexHull(p.points[:, :2].astype(np.float32))[:, 0] for p in placed]
    for item in items:
        stable = item.stable_poses[int(rng.integers(len(item.stable_poses)))]
        turn = rotation_about_z(rng.uniform(0, 2 * np.pi))
        outline = stable.footprint @ turn[:2, :2].T.astype(np.float32)
        outline = cv2.convexHull((outline * 1.04).astype(np.float32))[:, 0]
        away = outline - outline.mean(0)
        outline = outline + spacing * away / np.linalg.norm(away, axis=1, keepdims=True)
        angle = rng.uniform(0, 2 * np.pi)
        step = np.array([np.cos(angle), np.sin(angle)])
        gap = rng.uniform(0.0, 0.02) if placed else 0.0
        middle = -outline.mean(0)
        for distance in np.arange(0.0, reach, 0.012):
            position = middle + step * (distance + (gap if distance else 0.0))
            moved = (outline + position).astype(np.float32)
            if all(are_disjoint(moved, other) for other in occupied):
                pose = np.eye(4)
                pose[:3, :3] = turn @ stable.rotation
                pose[:3, 3] = (*position, stable.lift)
                points = stable.points @ turn.T + [*position, 0.0]
                placed.append(PlacedItem(item, pose, points))
                occupied.append(moved)
                break
    return placed
