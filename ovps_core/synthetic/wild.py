"""The wild level: any class, colour, light and camera, photos behind, things in the way."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from ovps_core.errors import DatasetError
from ovps_core.synthetic.bank import TABLE_HALF, Item, ObjectPool
from ovps_core.synthetic.catalogue import OBJECT_CLASSES
from ovps_core.synthetic.materials import MATERIAL_KINDS
from ovps_core.synthetic.objects.clutter import CLUTTER
from ovps_core.synthetic.picture import apply_sensor_noise
from ovps_core.synthetic.scene import (
    Camera,
    Placed,
    dress,
    fit_camera,
    lay_out,
    light,
    sample_azimuth,
    show,
)

LARGE = 0.55
"""Metres: what is larger stands on the floor, the rest on the table."""

COUNT_WEIGHTS = np.array([0.34, 0.26, 0.18, 0.11, 0.07, 0.04])


def compose_wild(
    bank: ObjectPool, rng: np.random.Generator, aspect: float
) -> tuple[list[Placed], Camera, bool]:
    """Set up one wild scene in the bank's model.

    Returns:
        What stands there, the camera, and whether the objects hang free, as if held in a hand
        (then a table behind them would look wrong and the background must be replaced).
    """
    named = [item for item in bank.items if item.object != CLUTTER]
    large = rng.random() < 0.27
    pool = [item for item in named if (OBJECT_CLASSES[item.object].size > LARGE) == large]
    n = 1 + int(rng.choice(6, p=COUNT_WEIGHTS))
    chosen = [pool[i] for i in rng.permutation(len(pool))[: min(n, 3) if large else n]]
    held = not large and rng.random() < 0.25
    placed = _hold(chosen[:1], rng) if held else lay_out(chosen, rng, reach=2.5 if large else 0.45)
    if not held and not large and rng.random() < 0.4:
        clutter = [item for item in bank.items if item.object == CLUTTER]
        extra = [clutter[i] for i in rng.permutation(len(clutter))[: int(rng.integers(1, 4))]]
        placed = lay_out(extra, rng, placed)
    half = (6.0, 6.0) if large else TABLE_HALF
    bank.model.geom_size[bank.table_geom, :2] = half
    camera = _camera(placed, rng, aspect, large)
    dress(bank, placed, rng)
    _paint(bank, placed, rng)
    show(bank, placed, camera)
    light(bank, rng, np.zeros(3))
    _relight(bank, rng)
    return placed, camera, held


def _hold(items: list[Item], rng: np.random.Generator) -> list[Placed]:
    """One item turned any way, well above the table."""
    from scipy.spatial.transform import Rotation

    placed = []
    for item in items:
        turn = Rotation.from_quat(rng.standard_normal(4)).as_matrix()
        pose = np.eye(4)
        pose[:3, :3] = turn @ item.stable_poses[0].rotation
        base = item.stable_poses[0].points - [0, 0, item.stable_poses[0].lift]
        points = base @ turn.T
        pose[:3, 3] = [0, 0, 0.5] - points.mean(0)
        placed.append(Placed(item, pose, points + pose[:3, 3]))
    return placed


def _camera(placed: list[Placed], rng: np.random.Generator, aspect: float, large: bool) -> Camera:
    focus = [p.points for p in placed]
    if len(placed) > 1 and rng.random() < 0.55:
        focus = [focus[int(rng.integers(len(focus)))]]
    elevation = rng.triangular(2, 14, 45) if large else rng.triangular(4, 35, 89)
    roll = rng.normal(0, 0.12) if rng.random() < 0.8 else rng.uniform(-np.pi, np.pi)
    return fit_camera(
        np.vstack(focus), sample_azimuth(placed, rng), np.radians(elevation), rng.uniform(26, 72),
        rng.uniform(0.75, 1.5), aspect, roll, rng.uniform(-0.2, 0.2, 2), 0.18, 8.0,
    )  # fmt: skip


def _paint(bank: ObjectPool, placed: list[Placed], rng: np.random.Generator) -> None:
    """Now and then any colour and any material on any part."""
    kinds = list(MATERIAL_KINDS)
    for p in placed:
        if rng.random() > 0.35:
            continue
        for geom in p.item.geoms:
            if rng.random() < 0.6:
                options = bank.materials[kinds[int(rng.integers(len(kinds)))]]
                bank.model.geom_matid[geom] = options[int(rng.integers(len(options)))]
                bank.model.geom_rgba[geom, :3] = rng.uniform(0.05, 1.0, 3)


def _relight(bank: ObjectPool, rng: np.random.Generator) -> None:
    """Wider light than a room's: dim or harsh, coloured lamps."""
    model = bank.model
    for i in range(3):
        tint = rng.uniform(0.75, 1.15, 3) if rng.random() < 0.4 else np.ones(3)
        model.light_diffuse[i] *= rng.uniform(0.4, 1.6) * tint
        model.light_ambient[i] *= rng.uniform(0.6, 1.4)


@lru_cache(maxsize=4)
def background_files(folder: str) -> tuple[str, ...]:
    """Every picture below a folder, sorted; raises DatasetError when there is none."""
    names = sorted(
        str(p) for p in Path(folder).rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png")
    )
    if not names:
        raise DatasetError(f"No .jpg or .png pictures below the background folder {folder!r}.")
    return tuple(names)


@lru_cache(maxsize=64)
def _load(path: str) -> np.ndarray | None:
    image = cv2.imread(path, cv2.IMREAD_COLOR)
    if image is None:
        return None
    scale = 512 / max(image.shape[:2])
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(image[..., ::-1])


def background(folder: str, size: int, rng: np.random.Generator) -> np.ndarray:
    """What is behind, uint8 [size, size, 3]: a crop of a photo, or painted noise without one."""
    if folder:
        files = background_files(folder)
        image = _load(files[int(rng.integers(len(files)))])
        if image is not None:
            height, width = image.shape[:2]
            side = max(8, int(min(height, width) * rng.uniform(0.4, 1.0)))
            y, x = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
            crop = image[y : y + side, x : x + side]
            crop = crop[:, ::-1] if rng.random() < 0.5 else crop
            return cv2.resize(crop, (size, size), interpolation=cv2.INTER_LINEAR)
    out = np.full((size, size, 3), rng.uniform(60, 200), np.float32) + rng.uniform(-35, 35, 3)
    for cells in (2, 4, 9, 24):
        coarse = rng.uniform(-1, 1, (cells, cells, 3)).astype(np.float32)
        coarse = 0.75 * coarse[..., :1] + 0.25 * coarse  # rooms vary more in light than in hue
        weight = rng.uniform(0, 110) / cells**0.6
        out += weight * cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.clip(out, 0, 255).astype(np.uint8)


def occluders(size: int, folder: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Shapes in front of everything: their mask bool [size, size] and a picture to fill it."""
    mask = np.zeros((size, size), np.uint8)
    for _ in range(int(rng.integers(1, 3))):
        angle = np.sort(rng.uniform(0, 2 * np.pi, 7))
        centre = rng.uniform(0, size, 2)
        radius = size * rng.uniform(0.05, 0.17) * rng.uniform(0.5, 1.2, 7)
        corners = centre + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
        cv2.fillPoly(mask, [corners.astype(np.int32)], 1)
    return mask.astype(bool), background(folder, size, rng)


def finish(
    rgb: np.ndarray, parts: np.ndarray, objects: np.ndarray, behind: np.ndarray,
    folder: str, held: bool, rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """The photographed picture and its maps: background, occluders, lens and sensor.

    Args:
        behind: bool [H, W], pixels that show table, floor or nothing.
    """
    size = rgb.shape[0]
    if held or rng.random() < 0.5:
        soft = cv2.GaussianBlur(behind.astype(np.float32), (0, 0), rng.uniform(0.4, 0.9))[..., None]
        picture = background(folder, size, rng)
        if rng.random() < 0.5:
            picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 4.0))
        rgb = (rgb * (1 - soft) + picture * soft).astype(np.uint8)
    if rng.random() < 0.35:
        mask, fill = occluders(size, folder, rng)
        rgb = np.where(mask[..., None], fill, rgb)
        parts = np.where(mask, 0, parts).astype(np.uint8)
        objects = np.where(mask, 0, objects).astype(np.uint8)
    return apply_sensor_noise(rgb, rng), parts, objects
