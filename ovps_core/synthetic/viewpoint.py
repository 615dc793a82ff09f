"""Camera poses that look at a scene and fill the picture with its objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ovps_core.synthetic.layout import PlacedItem, rotation_about_z


@dataclass(frozen=True)
class SceneCamera:
    """A pinhole camera in a scene.

    Attributes:
        pose: float64 [4, 4], optical frame (x right, y down, z forward; REP 103) to world.
        fovy: vertical field of view, degrees.
    """

    pose: np.ndarray
    fovy: float

    def intrinsics(self, width: int, height: int) -> np.ndarray:
        """Return K float64 [3, 3] for this picture size; pixel centres at integer coordinates."""
        f = height / 2 / np.tan(np.radians(self.fovy) / 2)
        return np.array([[f, 0, (width - 1) / 2], [0, f, (height - 1) / 2], [0, 0, 1.0]])


@dataclass(frozen=True, kw_only=True)
class Viewpoint:
    """The direction, framing and lens with which a camera looks at a set of points.

    Attributes:
        azimuth: direction from the points to the camera, radians about z.
        elevation: angle of that direction above the table, radians.
        fovy: vertical field of view, degrees.
        margin: 1 lets the points touch the picture's border; above 1 leaves room around them.
        near: minimum distance, metres.
        far: maximum distance, metres.
        roll: turn about the optical axis, radians.
        shift: [2] offset of the target, right and down, in half picture heights.
        aspect: width / height of the picture.
    """

    azimuth: float
    elevation: float
    fovy: float
    margin: float
    near: float
    far: float
    roll: float = 0.0
    shift: np.ndarray = field(default_factory=lambda: np.zeros(2))
    aspect: float = 1.0


def look_at(position: np.ndarray, target: np.ndarray, roll: float = 0.0) -> np.ndarray:
    """Return the pose [4, 4] of an optical frame at ``position`` that looks at ``target``.

    Args:
        position: [3] metres.
        target: [3] metres.
        roll: turn about the optical axis, radians.
    """
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    if np.linalg.norm(right) < 1e-3:
        right = np.array([1.0, 0.0, 0.0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, down, forward], axis=1) @ rotation_about_z(roll)
    pose[:3, 3] = position
    return pose


def fit_camera(points: np.ndarray, view: Viewpoint) -> SceneCamera:
    """Move a camera along its line of sight until the points fill the picture.

    Args:
        points: [N, 3] metres, world frame; all of them are seen.
        view: direction, framing and lens.
    """
    target = (points.min(0) + points.max(0)) / 2
    back = np.array(
        [
            np.cos(view.elevation) * np.cos(view.azimuth),
            np.cos(view.elevation) * np.sin(view.azimuth),
            np.sin(view.elevation),
        ]
    )
    pose = look_at(target + back, target, view.roll)
    local = (points - target) @ pose[:3, :3]
    k = np.tan(np.radians(view.fovy) / 2)
    need = (
        np.maximum(np.abs(local[:, 0]) / (k * view.aspect), np.abs(local[:, 1]) / k) * view.margin
    )
    distance = float(np.clip((need - local[:, 2]).max(), view.near, view.far))
    pose[:3, 3] = target + back * distance + pose[:3, :2] @ (view.shift * distance * k)
    return SceneCamera(pose, view.fovy)


def sample_azimuth(placed: Sequence[PlacedItem], rng: np.random.Generator) -> float:
    """Draw the camera's azimuth in radians, mostly facing the front of an object that has one."""
    azimuth = float(rng.uniform(0, 2 * np.pi))
    fronts = [p.pose[:2, 0] for p in placed if p.item.has_front]
    if fronts and rng.random() < 0.85:
        azimuth = float(np.arctan2(-fronts[0][1], -fronts[0][0]) + rng.uniform(-1.0, 1.0))
    return azimuth
