"""Composing one scene from a bank: which objects, where they rest, colours, light and camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ovps_core.synthetic.bank import HIDDEN_GROUP, SHOWN_GROUP, Item, ObjectPool
from ovps_core.synthetic.materials import draw_colour, draw_table_colour
from ovps_core.synthetic.objects.clutter import CLUTTER
from ovps_core.synthetic.rest import Rest

COUNT_WEIGHTS = np.array([0.30, 0.27, 0.19, 0.12, 0.08, 0.04])


@dataclass(frozen=True)
class Placed:
    """An item standing on the table: `pose` is float64 [4, 4], object frame to world."""

    item: Item
    pose: np.ndarray
    points: np.ndarray


@dataclass(frozen=True)
class Camera:
    """A pinhole camera: `pose` float64 [4, 4] optical frame (x right, y down, z ahead) to world."""

    pose: np.ndarray
    fovy: float

    def intrinsics(self, width: int, height: int) -> np.ndarray:
        """K float64 [3, 3] for a picture of this size; pixel centres at integer coordinates."""
        f = height / 2 / np.tan(np.radians(self.fovy) / 2)
        return np.array([[f, 0, (width - 1) / 2], [0, f, (height - 1) / 2], [0, 0, 1.0]])


def _yaw(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1.0]])


def apart(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two convex polygons [K, 2] and [M, 2] do not overlap (separating axes)."""
    for polygon in (a, b):
        edge = np.roll(polygon, -1, axis=0) - polygon
        normal = np.stack([-edge[:, 1], edge[:, 0]])
        pa, pb = a @ normal, b @ normal
        if np.any((pa.max(0) < pb.min(0)) | (pb.max(0) < pa.min(0))):
            return True
    return False


def lay_out(
    items: Sequence[Item],
    rng: np.random.Generator,
    standing: Sequence[Placed] = (),
    reach: float = 0.45,
) -> list[Placed]:
    """Rest the items on the table beside what stands there, no footprint over another.

    Each item is pushed from the middle along a random direction until it is free; one that
    finds no room within `reach` metres is left out.
    """
    placed = list(standing)
    taken = [cv2.convexHull(p.points[:, :2].astype(np.float32))[:, 0] for p in placed]
    for item in items:
        rest: Rest = item.stable_poses[int(rng.integers(len(item.stable_poses)))]
        turn = _yaw(rng.uniform(0, 2 * np.pi))
        outline = rest.footprint @ turn[:2, :2].T.astype(np.float32)
        outline = cv2.convexHull((outline * 1.04).astype(np.float32))[:, 0]
        angle = rng.uniform(0, 2 * np.pi)
        step = np.array([np.cos(angle), np.sin(angle)])
        gap = rng.uniform(0.0, 0.02) if placed else 0.0
        middle = -outline.mean(0)
        for distance in np.arange(0.0, reach, 0.012):
            where = middle + step * (distance + (gap if distance else 0.0))
            moved = (outline + where).astype(np.float32)
            if all(apart(moved, other) for other in taken):
                pose = np.eye(4)
                pose[:3, :3] = turn @ rest.rotation
                pose[:3, 3] = (*where, rest.lift)
                points = rest.points @ turn.T + [*where, 0.0]
                placed.append(Placed(item, pose, points))
                taken.append(moved)
                break
    return placed


def look_at(eye: np.ndarray, target: np.ndarray, roll: float = 0.0) -> np.ndarray:
    """Pose [4, 4] of an optical frame at `eye` that looks at `target`; roll in radians."""
    ahead = (target - eye) / np.linalg.norm(target - eye)
    right = np.cross(ahead, [0.0, 0.0, 1.0])
    if np.linalg.norm(right) < 1e-3:
        right = np.array([1.0, 0.0, 0.0])
    right /= np.linalg.norm(right)
    down = np.cross(ahead, right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, down, ahead], axis=1) @ _yaw(roll)
    pose[:3, 3] = eye
    return pose


def fit_camera(
    points: np.ndarray, azimuth: float, elevation: float, fovy: float, margin: float,
    aspect: float, roll: float, shift: np.ndarray, near: float, far: float,
) -> Camera:  # fmt: skip
    """The camera on a ray from the points' middle that sees all of them filling the picture.

    Args:
        points: [N, 3] world metres; margin: 1 touches the border, above 1 leaves room.
        aspect: width / height; near, far: limits of the distance in metres.
        shift: [2] target offset as a share of the distance, right and down.
    """
    target = (points.min(0) + points.max(0)) / 2
    back = np.array(
        [
            np.cos(elevation) * np.cos(azimuth),
            np.cos(elevation) * np.sin(azimuth),
            np.sin(elevation),
        ]
    )
    pose = look_at(target + back, target, roll)
    local = (points - target) @ pose[:3, :3]
    k = np.tan(np.radians(fovy) / 2)
    need = np.maximum(np.abs(local[:, 0]) / (k * aspect), np.abs(local[:, 1]) / k) * margin
    distance = float(np.clip((need - local[:, 2]).max(), near, far))
    eye = target + back * distance + pose[:3, :2] @ (shift * distance * k)
    pose[:3, 3] = eye
    return Camera(pose, fovy)


def sample_azimuth(placed: Sequence[Placed], rng: np.random.Generator) -> float:
    """Where the camera stands around the scene, radians; mostly before a front if there is one."""
    azimuth = float(rng.uniform(0, 2 * np.pi))
    fronts = [p.pose[:2, 0] for p in placed if p.item.faces]
    if fronts and rng.random() < 0.85:
        azimuth = float(np.arctan2(-fronts[0][1], -fronts[0][0]) + rng.uniform(-1.0, 1.0))
    return azimuth


def sample_camera(placed: Sequence[Placed], rng: np.random.Generator, aspect: float) -> Camera:
    """A wrist or head camera of the tabletop level: 0.2 to 0.8 m off, objects fill the picture."""
    focus = [p.points for p in placed]
    if len(placed) > 1 and rng.random() < 0.5:
        keep = rng.permutation(len(placed))[: int(rng.integers(1, max(2, len(placed) // 2 + 1)))]
        focus = [placed[i].points for i in keep]
    elevation = np.radians(rng.triangular(18, 48, 88))
    roll = rng.uniform(-0.15, 0.15) if rng.random() < 0.85 else rng.uniform(-np.pi, np.pi)
    return fit_camera(
        np.vstack(focus), sample_azimuth(placed, rng), elevation, rng.uniform(38, 58),
        rng.uniform(0.85, 1.15), aspect, roll, rng.uniform(-0.08, 0.08, 2), 0.2, 0.8,
    )  # fmt: skip


def dress(bank: ObjectPool, placed: Sequence[Placed], rng: np.random.Generator) -> None:
    """Colour the table and the shown objects: parts of one tint and kind share a colour."""
    model = bank.model
    for geom in (bank.table_geom, bank.floor_geom):
        index = int(rng.integers(len(bank.tables)))
        model.geom_matid[geom] = bank.tables[index]
        model.geom_rgba[geom] = draw_table_colour(index, rng)
    for p in placed:
        looks: dict[tuple[str, str], tuple[int, tuple[float, ...]]] = {}
        for part, geom in zip(p.item.parts, p.item.geoms, strict=True):
            key = (part.tint, part.material)
            if key not in looks:
                options = bank.materials[part.material]
                looks[key] = (
                    options[int(rng.integers(len(options)))],
                    draw_colour(part.material, rng),
                )
            model.geom_matid[geom], model.geom_rgba[geom] = looks[key]


def show(bank: ObjectPool, placed: Sequence[Placed], camera: Camera) -> None:
    """Move the placed items and the camera in the model; hide every other item."""
    import mujoco

    model, data = bank.model, bank.data
    model.geom_group[:] = HIDDEN_GROUP
    model.geom_group[[bank.table_geom, bank.floor_geom]] = SHOWN_GROUP
    quat = np.empty(4)
    for p in placed:
        model.geom_group[list(p.item.geoms)] = SHOWN_GROUP
        data.mocap_pos[p.item.mocap] = p.pose[:3, 3]
        mujoco.mju_mat2Quat(quat, p.pose[:3, :3].ravel())
        data.mocap_quat[p.item.mocap] = quat
    aim(bank, camera)


def aim(bank: ObjectPool, camera: Camera) -> None:
    """Put the bank's camera at a pose; MuJoCo's own camera looks along -z with y up."""
    import mujoco

    eye = int(bank.model.body_mocapid[bank.model.body("eye").id])
    quat = np.empty(4)
    flipped = camera.pose[:3, :3] * [1.0, -1.0, -1.0]
    mujoco.mju_mat2Quat(quat, np.ascontiguousarray(flipped).ravel())
    bank.data.mocap_pos[eye] = camera.pose[:3, 3]
    bank.data.mocap_quat[eye] = quat
    bank.model.cam_fovy[0] = camera.fovy


def light(bank: ObjectPool, rng: np.random.Generator, target: np.ndarray) -> None:
    """A room: one window or lamp that casts shadows, two weaker fills, all nearly white."""
    model = bank.model
    warmth = rng.uniform(-0.07, 0.07)
    white = np.array([1 + warmth, 1.0, 1 - warmth])
    power = (rng.uniform(0.3, 0.5), rng.uniform(0.18, 0.34), rng.uniform(0.12, 0.26))
    key = rng.uniform(0, 2 * np.pi)
    for i in range(3):
        # The second light fills what the first leaves dark.
        azimuth = key + (0.0, np.pi + rng.uniform(-0.8, 0.8), rng.uniform(0, 2 * np.pi))[i]
        height = rng.uniform(0.9, 3.0)
        direction = -np.array([np.cos(azimuth), np.sin(azimuth), height])
        direction /= np.linalg.norm(direction)
        model.light_dir[i] = direction
        model.light_pos[i] = target - direction * 1.5
        model.light_diffuse[i] = power[i] * white
        model.light_specular[i] = power[i] * 0.6
        model.light_ambient[i] = (rng.uniform(0.3, 0.45) if i == 0 else 0.0) * white
    model.light_castshadow[0] = rng.random() < 0.8


def compose(
    bank: ObjectPool, rng: np.random.Generator, aspect: float
) -> tuple[list[Placed], Camera]:
    """Set up one tabletop scene in the bank's model; returns what stands there and the camera.

    `aspect` is the picture's width / height.
    """
    named = [item for item in bank.items if item.object != CLUTTER]
    clutter = [item for item in bank.items if item.object == CLUTTER]
    n = 1 + int(rng.choice(len(COUNT_WEIGHTS), p=COUNT_WEIGHTS))
    chosen = [named[i] for i in rng.permutation(len(named))[:n]]
    placed = lay_out(chosen, rng)
    camera = sample_camera(placed, rng, aspect)
    if rng.random() < 0.3:
        extra = [clutter[i] for i in rng.permutation(len(clutter))[: int(rng.integers(1, 3))]]
        placed = lay_out(extra, rng, placed)
    dress(bank, placed, rng)
    show(bank, placed, camera)
    light(bank, rng, np.zeros(3))
    return placed, camera
