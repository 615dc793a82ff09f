"""How an object rests on a table: rotations that keep it still, and its footprint there."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Rest:
    """A pose an object can be left in.

    Attributes:
        rotation: float64 [3, 3], object to table axes.
        lift: metres to raise the origin so that the lowest point touches z = 0.
        footprint: float32 [K, 2] convex outline seen from above, before any turn about z.
        points: float64 [M, 3] hull points in table axes, lift applied.
    """

    rotation: np.ndarray
    lift: float
    footprint: np.ndarray
    points: np.ndarray


def _turn(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The smallest rotation [3, 3] that takes unit vector `source` to `target`."""
    axis = np.cross(source, target)
    cos = float(source @ target)
    if cos < -0.999999:
        helper = np.eye(3)[int(np.argmin(np.abs(source)))]
        axis = np.cross(source, helper)
        axis /= np.linalg.norm(axis)
        return 2 * np.outer(axis, axis) - np.eye(3)
    k = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    return np.eye(3) + k + k @ k / (1 + cos)


def _holds(points: np.ndarray, centre: np.ndarray) -> bool:
    """Whether the lowest points form a polygon under the centre of mass."""
    low = points[points[:, 2] < points[:, 2].min() + 6e-4][:, :2].astype(np.float32)
    if len(low) < 3:
        return False
    hull = cv2.convexHull(low * 1000)
    return cv2.pointPolygonTest(hull, tuple(map(float, centre[:2] * 1000)), True) > 0.5


def settle(
    hull: np.ndarray, normals: np.ndarray, centre: np.ndarray, down: np.ndarray
) -> np.ndarray:
    """The stable rotation [3, 3] whose underside is nearest to direction `down` of the object.

    Args:
        hull: [M, 3] convex hull points; normals: [F, 3] outward hull facets; centre: [3] of mass.
    """
    floor = np.array([0.0, 0.0, -1.0])
    for i in np.argsort(-(normals @ down)):
        rotation = _turn(normals[i], floor)
        if _holds(hull @ rotation.T, rotation @ centre):
            return rotation
    return _turn(down / np.linalg.norm(down), floor)


def stable_poses(
    vertices: np.ndarray, poses: tuple[str, ...], rng: np.random.Generator
) -> list[Rest]:
    """One `Rest` per named pose.

    "as_built" as modelled; "settled" the stable pose nearest to that; "lying" settled after any
    roll about the object's x axis; "side" tipped over; "upside_down".

    Args:
        vertices: [V, 3] all surface points of the object, metres.
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
        elif pose in ("settled", "lying"):
            roll = rng.uniform(0, 2 * np.pi) if pose == "lying" else 0.0
            down = np.array([0.0, np.sin(roll), -np.cos(roll)])
            rotation = settle(points, normals, centre, down)
        elif pose == "upside_down":
            rotation = settle(points, normals, centre, np.array([0.0, 0.0, 1.0]))
        else:
            angle = rng.uniform(0, 2 * np.pi)
            rotation = settle(points, normals, centre, np.array([np.cos(angle), np.sin(angle), 0]))
        turned = points @ rotation.T
        lift = -float(turned[:, 2].min())
        footprint = cv2.convexHull(turned[:, :2].astype(np.float32))[:, 0]
        found.append(Rest(rotation, lift, footprint, turned + np.array([0, 0, lift])))
    return found
