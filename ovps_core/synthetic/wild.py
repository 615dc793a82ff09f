"""Composition of one scene of the wild level: any object, material, light and camera.

"Wild" is short for "in the wild": appearance is randomised far beyond what is plausible, so that a
model trained on these scenes relies on shape (domain randomisation, Tobin et al. 2017).
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

from ovps_core.errors import DatasetError, ImageError
from ovps_core.structures.image_files import load_image
from ovps_core.synthetic.camera_effects import simulate_poor_camera
from ovps_core.synthetic.layout import TABLE_REACH, PlacedItem, arrange_on_table
from ovps_core.synthetic.materials import MATERIAL_KINDS
from ovps_core.synthetic.object_pool import TABLE_HALF_SIZE, ObjectPool, PoolItem
from ovps_core.synthetic.objects.clutter import CLUTTER
from ovps_core.synthetic.scene import assign_materials, populate_renderer, set_lights
from ovps_core.synthetic.settings import IGNORED
from ovps_core.synthetic.viewpoint import SceneCamera, Viewpoint, fit_camera, sample_azimuth

LARGE = 0.55
"""Metres; larger objects stand on the floor, the others on the table."""

COUNT_WEIGHTS = np.array([0.34, 0.26, 0.18, 0.11, 0.07, 0.04])
"""Probabilities of 1 to 6 objects in a scene."""


def compose_wild(
    pool: ObjectPool, rng: np.random.Generator
) -> tuple[list[PlacedItem], SceneCamera, bool]:
    """Set up one wild scene in the pool's model.

    Returns:
        The objects, the camera, and whether the object floats as if held in a hand. The table is
        no plausible background of a floating object and must be replaced.
    """
    named = [item for item in pool.items if item.object_name != CLUTTER]
    large = rng.random() < 0.27
    if not any((item.size > LARGE) == large for item in named):
        large = not large  # the objects that were named are all of the other size
    candidates = [item for item in named if (item.size > LARGE) == large]
    n = 1 + int(rng.choice(len(COUNT_WEIGHTS), p=COUNT_WEIGHTS))
    order = rng.permutation(len(candidates))
    chosen = [candidates[i] for i in order[: min(n, 3) if large else n]]
    floating = not large and rng.random() < 0.25
    if floating:
        placed = [_float_item(item, rng) for item in chosen[:1]]
    else:
        placed = arrange_on_table(chosen, rng, reach=2.5 if large else TABLE_REACH)
    if not floating and not large and rng.random() < 0.4:
        clutter = [item for item in pool.items if item.object_name == CLUTTER]
        extra = [clutter[i] for i in rng.permutation(len(clutter))[: int(rng.integers(1, 4))]]
        placed = arrange_on_table(extra, rng, placed)
    pool.model.geom_size[pool.table_geom, :2] = (6.0, 6.0) if large else TABLE_HALF_SIZE
    camera = _sample_camera(placed, rng, large)
    assign_materials(pool, placed, rng)
    _randomise_materials(pool, placed, rng)
    populate_renderer(pool, placed, camera)
    set_lights(pool, rng)
    _randomise_lights(pool, rng)
    return placed, camera, floating


def _float_item(item: PoolItem, rng: np.random.Generator) -> PlacedItem:
    """Place an item half a metre above the table in a random orientation."""
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_quat(rng.standard_normal(4)).as_matrix()
    stable = item.stable_poses[0]
    pose = np.eye(4)
    pose[:3, :3] = turn @ stable.rotation
    points = (stable.points - [0, 0, stable.lift]) @ turn.T
    pose[:3, 3] = [0, 0, 0.5] - points.mean(0)
    return PlacedItem(item, pose, points + pose[:3, 3])


def _sample_camera(placed: list[PlacedItem], rng: np.random.Generator, large: bool) -> SceneCamera:
    focus = [p.points for p in placed]
    if len(placed) > 1 and rng.random() < 0.55:
        focus = [focus[int(rng.integers(len(focus)))]]
    elevation = rng.triangular(2, 14, 45) if large else rng.triangular(4, 35, 89)
    roll = rng.normal(0, 0.12) if rng.random() < 0.8 else rng.uniform(-np.pi, np.pi)
    # The order of the draws is part of a seed's pixels.
    view = Viewpoint(
        azimuth=sample_azimuth(placed, rng),
        elevation=np.radians(elevation),
        fovy=rng.uniform(26, 72),
        margin=rng.uniform(0.75, 1.5),
        roll=roll,
        shift=rng.uniform(-0.2, 0.2, 2),
        near=0.18,
        far=8.0,
    )
    return fit_camera(np.vstack(focus), view)


def _randomise_materials(
    pool: ObjectPool, placed: list[PlacedItem], rng: np.random.Generator
) -> None:
    """Give some objects parts of any material and any colour."""
    kinds = list(MATERIAL_KINDS)
    for p in placed:
        if rng.random() > 0.35:
            continue
        for geom in p.item.geoms:
            if rng.random() < 0.6:
                options = pool.materials[kinds[int(rng.integers(len(kinds)))]]
                pool.model.geom_matid[geom] = options[int(rng.integers(len(options)))]
                pool.model.geom_rgba[geom, :3] = rng.uniform(0.05, 1.0, 3)


def _randomise_lights(pool: ObjectPool, rng: np.random.Generator) -> None:
    """Make the room's lights dim or harsh, and colour some of them."""
    model = pool.model
    for i in range(3):
        tint = rng.uniform(0.75, 1.15, 3) if rng.random() < 0.4 else np.ones(3)
        model.light_diffuse[i] *= rng.uniform(0.4, 1.6) * tint
        model.light_ambient[i] *= rng.uniform(0.6, 1.4)


@lru_cache(maxsize=4)
def background_files(folder: str) -> tuple[str, ...]:
    """List every picture below a folder, sorted.

    Raises:
        DatasetError: the folder has no picture.
    """
    names = sorted(
        str(p) for p in Path(folder).rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png")
    )
    if not names:
        raise DatasetError(
            f"The background folder {folder!r} holds no picture; expected .jpg or .png files in it "
            "or in its subfolders."
        )
    return tuple(names)


@lru_cache(maxsize=64)
def _load_photo(path: str) -> np.ndarray | None:
    """Read a photo as RGB uint8 [H, W, 3], its longer side at most 512; None if damaged."""
    try:
        image = load_image(path)
    except ImageError:
        return None
    scale = 512 / max(image.shape[:2])
    if scale < 1:
        smaller = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        return np.asarray(smaller, np.uint8)
    return image


def background(folder: str, size: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a background uint8 [size, size, 3]: a crop of a photo, or painted noise without one."""
    return photo_or_noise(folder, size, rng)[0]


def photo_or_noise(folder: str, size: int, rng: np.random.Generator) -> tuple[np.ndarray, bool]:
    """Draw a background as :func:`background` does, and say whether it is a photo."""
    if folder:
        files = background_files(folder)
        image = _load_photo(files[int(rng.integers(len(files)))])
        if image is not None:
            height, width = image.shape[:2]
            side = max(8, int(min(height, width) * rng.uniform(0.4, 1.0)))
            y, x = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
            crop = image[y : y + side, x : x + side]
            crop = crop[:, ::-1] if rng.random() < 0.5 else crop
            scaled = cv2.resize(crop, (size, size), interpolation=cv2.INTER_LINEAR)
            return np.asarray(scaled, dtype=np.uint8), True
    out = np.full((size, size, 3), rng.uniform(60, 200), np.float32) + rng.uniform(-35, 35, 3)
    for cells in (2, 4, 9, 24):
        coarse = rng.uniform(-1, 1, (cells, cells, 3)).astype(np.float32)
        coarse = 0.75 * coarse[..., :1] + 0.25 * coarse  # rooms vary more in light than in hue
        weight = rng.uniform(0, 110) / cells**0.6
        out += weight * cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.clip(out, 0, 255).astype(np.uint8), False


def cover(
    rgb: np.ndarray,
    parts: np.ndarray,
    objects: np.ndarray,
    folder: str,
    rng: np.random.Generator,
    *,
    may_show_objects: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw shapes in front of a scene, filled with a photo of a folder; both maps are 0 under them.

    If photos of the folder may show objects, the part map is IGNORED under a photo.
    """
    size = rgb.shape[0]
    mask = np.zeros((size, size), np.uint8)
    for _ in range(int(rng.integers(1, 3))):
        angle = np.sort(rng.uniform(0, 2 * np.pi, 7))
        centre = rng.uniform(0, size, 2)
        radius = size * rng.uniform(0.05, 0.17) * rng.uniform(0.5, 1.2, 7)
        corners = centre + radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
        cv2.fillPoly(mask, [corners.astype(np.int32)], 1)
    hidden = mask.astype(bool)
    picture, is_photo = photo_or_noise(folder, size, rng)
    rgb = np.where(hidden[..., None], picture, rgb)
    value = IGNORED if is_photo and may_show_objects else 0
    parts = np.where(hidden, value, parts).astype(np.uint8)
    return rgb, parts, np.where(hidden, 0, objects).astype(np.uint8)


def apply_wild_effects(
    rgb: np.ndarray,
    parts: np.ndarray,
    objects: np.ndarray,
    *,
    is_background: np.ndarray,
    floating: bool,
    photos: str,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Replace the background, draw occluders, and simulate a poor camera.

    Args:
        rgb: rendered picture, uint8 [S, S, 3].
        parts: part map, uint8 [S, S].
        objects: object map, uint8 [S, S].
        is_background: bool [S, S], pixels that show the table, the floor or nothing.
        floating: the object floats, so the background must be replaced.
        photos: folder of background photos; "" paints noise.
        rng: draws every effect.

    Returns:
        The new picture, part map and object map; occluded pixels are 0 in both maps. Where a photo shows, behind
        or before the objects, the part map is IGNORED: it may show known objects.
    """
    size = rgb.shape[0]
    if floating or rng.random() < 0.5:
        alpha = is_background.astype(np.float32)
        soft = cv2.GaussianBlur(alpha, (0, 0), rng.uniform(0.4, 0.9))[..., None]
        picture, is_photo = photo_or_noise(photos, size, rng)
        if rng.random() < 0.5:
            picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, 4.0))
        rgb = (rgb * (1 - soft) + picture * soft).astype(np.uint8)
        if is_photo:
            parts = np.where(is_background & (parts == 0), IGNORED, parts).astype(np.uint8)
    if rng.random() < 0.35:
        rgb, parts, objects = cover(rgb, parts, objects, photos, rng, may_show_objects=True)
    return simulate_poor_camera(rgb, rng), parts, objects
