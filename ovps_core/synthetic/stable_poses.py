"""Stable poses of an object on a table, and its footprint in each of them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class StablePose:
    """A pose in which an object can stay on a table.

    Attributes:
        rotation: float64 [3, 3], object to table axes.
        lift: height of the object's origin in metres at which its lowest point touches z = 0.
        footprint: float32 [K, 2] metres, convex outline from above, before any turn about z.
        points: float64 [M, 3] metres, convex hull points in table axes, lift applied.
    """

    rotation: np.ndarray
    lift: float
    footprint: np.ndarray
    points: np.ndarray


def _rotation_between(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the smallest rotation [3, 3] that takes unit vector ``source`` to ``target``."""
    axis = np.cross(source, target)
    cos = float(source @ target)
    if cos < -0.999999:
        helper = np.eye(3)[int(np.argmin(np.abs(source)))]
        axis = np.cross(source, helper)
        axis /= np.linalg.norm(axis)
        return np.asarray(2 * np.outer(axis, axis) - np.eye(3))
    k = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.asarray(np.eye(3) + k + k @ k / (1 + cos))


def _is_stable(points: np.ndarray, centre: np.ndarray) -> bool:
    """Return True if the centre of mass lies above the polygon of the lowest points."""
    low = points[points[:, 2] < points[:, 2].min() + 6e-4][:, :2].astype(np.float32)
    if len(low) < 3:
        return False
    hull = cv2.convexHull(low * 1000)
    return cv2.pointPolygonTest(hull, tuple(map(float, centre[:2] * 1000)), True) > 0.5


def nearest_stable_rotation(
    hull: np.ndarray, normals: np.ndarray, centre: np.ndarray, down: np.ndarray
) -> np.ndarray:
    """Return the stable rotation [3, 3] whose underside is nearest to direction ``down``.

    Args:
        hull: [M, 3] points of the convex hull, object frame.
        normals: [F, 3] outward unit normals of the hull's facets.
        centre: [3] centre of mass.
        down: [3] direction in the object frame that should point to the floor.
    """
    floor = np.array([0.0, 0.0, -1.0])
    for i in np.argsort(-(normals @ down)):
        rotation = _rotation_between(normals[i], floor)
        if _is_stable(hull @ rotation.T, rotation @ centre):
            return rotation
    return _rotation_between(down / np.linalg.norm(down), floor)


def stable_poses(
    vertices: np.ndarray, poses: tuple[str, ...], rng: np.random.Generator
) -> list[StablePose]:
    """Compute one stable pose for each name.

    Args:
        vertices: [V, 3] surface points of the object, metres.
        poses: each "as_built" (as modelled), "settled" (the stable pose nearest to that), "lying"
            (settled after a random roll about x), "side" (tipped over), "upside_down", or "dropped"
            (settled after any turn).
        rng: draws rolls, turns and tipping directions.
    """
    from scipy.spatial import ConvexHull

    hull = ConvexHull(vertices)
    points = vertices[hull.vertices]
    normals = np.unique(np.round(hull.equations[:, :3], 3), axis=0)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    centre = vertices.mean(0)
    found = []
    for pose in poses:
        if pose == "as_built":
            rotation = np.eye(3)
        else:
            rotation = nearest_stable_rotation(points, normals, centre, _down_direction(pose, rng))
        turned = points @ rotation.T
        lift = -float(turned[:, 2].min())
        footprint = cv2.convexHull(turned[:, :2].astype(np.float32))[:, 0]
        found.append(StablePose(rotation, lift, footprint, turned + np.array([0, 0, lift])))
    return found


def _down_direction(pose: str, rng: np.random.Generator) -> np.ndarray:
    """Return the direction [3] of the object that faces the floor in a named pose."""
    if pose in ("settled", "lying"):
        roll = rng.uniform(0, 2 * np.pi) if pose == "lying" else 0.0
        return np.array([0.0, np.sin(roll), -np.cos(roll)])
    if pose == "upside_down":
        return np.array([0.0, 0.0, 1.0])
    if pose == "dropped":
        return rng.standard_normal(3)
    angle = rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(angle), np.sin(angle), 0.0])
