"""Composition of one path-traced scene: objects, their poses, and the camera. It needs no Blender."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from ovps_core.synthetic.layout import PlacedItem, arrange_on_table, rotation_about_z
from ovps_core.synthetic.path_traced import furniture
from ovps_core.synthetic.path_traced import scans as scan_table
from ovps_core.synthetic.path_traced.object_models import (
    ObjectModel,
    build_procedural,
    build_scan,
    classes_for,
)
from ovps_core.synthetic.path_traced.settings import PathTraceSettings
from ovps_core.synthetic.viewpoint import SceneCamera, Viewpoint, fit_camera, sample_azimuth

COUNT_WEIGHTS = np.array([0.22, 0.26, 0.2, 0.15, 0.1, 0.07])
"""Probabilities of 1 to 6 objects in a scene."""

LARGE_SHARE = 0.25
"""Probability that the objects stand on the floor."""

FURNITURE_SHARE = 0.45
"""Probability of a piece of furniture on the floor, where its files are given."""

SCAN_SHARE = {"train": 0.5, "val": 0.5, "test": 0.35}
"""Probability that an object on the table is a scan; the test has fewer scans to choose from."""

MIN_SIDE = 40
"""Minimum length in pixels of the objects that the camera looks at."""


@dataclass(frozen=True)
class Composition:
    """The placed objects of one scene, and the camera that sees them.

    Attributes:
        placed: objects and their poses; ``placed[i].item`` is a ``ObjectModel``.
        camera: pose and field of view.
        focus: metres to the plane in focus.
        large: the objects stand on the floor; if False, on a table.
        wall: x in metres of the wall behind objects with a front; None without such a wall.
    """

    placed: tuple[PlacedItem, ...]
    camera: SceneCamera
    focus: float
    large: bool
    wall: float | None = None


def model_of(placed: PlacedItem) -> ObjectModel:
    """Return the model of a placed object."""
    return cast(ObjectModel, placed.item)


def compose(settings: PathTraceSettings, rng: np.random.Generator) -> Composition | None:
    """Draw one scene; return None if no camera shows its objects large enough."""
    large = bool(rng.random() < LARGE_SHARE)
    count = 1 + int(rng.choice(len(COUNT_WEIGHTS), p=COUNT_WEIGHTS))
    named = _named(settings, large, min(count, 2) if large else count, rng)
    wall = None
    if large and any(model.has_front for model in named):
        placed, wall = _against_wall(named, rng)
    else:
        placed = arrange_on_table(cast(Any, named), rng, reach=2.0 if large else 0.4)
    camera = _camera(placed, settings.size, large, rng)
    if camera is None:
        return None
    if not large and rng.random() < 0.65:
        extra = _clutter(settings, int(rng.integers(1, 5)), rng)
        placed = arrange_on_table(cast(Any, extra), rng, placed, reach=0.5)
    eye = camera.pose[:3, 3]
    nearest = min(float(np.linalg.norm(p.points - eye, axis=1).min()) for p in placed)
    if nearest < 0.1 or _is_inside(eye, placed):
        return None
    middle = placed[int(rng.integers(len(named)))] if len(placed) >= len(named) else placed[0]
    ahead = camera.pose[:3, 2]
    focus = float((middle.points.mean(0) - eye) @ ahead)
    return Composition(tuple(placed), camera, max(focus, 0.1), large, wall)


def _named(
    settings: PathTraceSettings, large: bool, count: int, rng: np.random.Generator
) -> list[ObjectModel]:
    """Draw labelled objects of different classes; about half of the small ones are scans."""
    found: list[ObjectModel] = []
    kinds = classes_for(large)
    tabletop = np.array([2.0 if kind.level == "tabletop" else 1.0 for kind in kinds])
    order = rng.choice(len(kinds), size=count, replace=False, p=tabletop / tabletop.sum())
    shown: dict[str, list[str]] = {}
    if settings.scans and not large:
        for name, (owner, _) in sorted(scan_table.labelled_scans(settings.scans).items()):
            if scan_table.is_shown(name, settings.split):
                shown.setdefault(owner, []).append(name)
    for k in order:
        if large and settings.scans and not found and rng.random() < FURNITURE_SHARE:
            pieces = furniture.names(settings.split)
            name = pieces[int(rng.integers(len(pieces)))]
            found.append(furniture.build_furniture(settings.scans, name, rng))
        elif shown and rng.random() < SCAN_SHARE[settings.split]:
            owner = sorted(shown)[int(rng.integers(len(shown)))]
            name = shown[owner][int(rng.integers(len(shown[owner])))]
            found.append(build_scan(scan_table.load_scan(settings.scans, name), rng))
        else:
            found.append(build_procedural(kinds[k], settings.split, rng))
    return found


def _against_wall(
    models: Sequence[ObjectModel], rng: np.random.Generator
) -> tuple[list[PlacedItem], float]:
    """Place objects side by side, those with a front against one wall, others before it.

    Returns:
        The placed objects, and the wall's x in metres.
    """
    placed: list[PlacedItem] = []
    y = 0.0
    for model in models:
        stable = model.stable_poses[int(rng.integers(len(model.stable_poses)))]
        angle = 0.0 if model.has_front else rng.uniform(0, 2 * np.pi)
        turn = rotation_about_z(angle)
        points = stable.points @ turn.T
        before = 0.0 if model.has_front else rng.uniform(0.02, 0.6)
        move = np.array([-points[:, 0].max() - before, y - points[:, 1].min(), 0.0])
        pose = np.eye(4)
        pose[:3, :3] = turn @ stable.rotation
        pose[:3, 3] = move + [0, 0, stable.lift]
        placed.append(PlacedItem(cast(Any, model), pose, points + move))
        y = float((points + move)[:, 1].max()) + rng.uniform(0.02, 0.3)
    return placed, 0.004


def _clutter(
    settings: PathTraceSettings, count: int, rng: np.random.Generator
) -> list[ObjectModel]:
    """Draw unlabelled objects: scans if there are any, and parametric ones."""
    names: list[str] = []
    if settings.scans:
        names = [n for n in scan_table.CLUTTER if scan_table.is_shown(n, settings.split)]
    from ovps_core.synthetic.objects import clutter

    kinds = clutter.classes()
    found = []
    for _ in range(count):
        if names and rng.random() < 0.7:
            name = names[int(rng.integers(len(names)))]
            found.append(build_scan(scan_table.load_scan(settings.scans, name), rng))
        else:
            kind = kinds[int(rng.integers(len(kinds)))]
            found.append(build_procedural(kind, settings.split, rng))
    return found


def _camera(
    placed: Sequence[PlacedItem], size: int, large: bool, rng: np.random.Generator
) -> SceneCamera | None:
    """Draw a robot's camera: 0.25 to 1.2 m from objects on a table, 0.5 to 3.5 m on the floor."""
    for _ in range(8):
        focus = list(placed)
        if len(placed) > 1 and rng.random() < 0.45:
            keep = rng.permutation(len(placed))[: int(rng.integers(1, len(placed)))]
            focus = [placed[i] for i in keep]
        elevation = rng.triangular(3, 15, 45) if large else rng.triangular(15, 42, 88)
        turned = not large and rng.random() < 0.15
        roll = rng.uniform(-np.pi, np.pi) if turned else rng.normal(0, 0.07)
        near, far = (0.5, 3.5) if large else (0.25, 1.2)
        # The order of the draws is part of a seed's pixels.
        view = Viewpoint(
            azimuth=sample_azimuth(placed, rng),
            elevation=float(np.radians(elevation)),
            fovy=rng.uniform(35, 62),
            margin=rng.uniform(0.8, 1.5 if large else 2.2),
            roll=float(roll),
            shift=rng.uniform(-0.15, 0.15, 2),
            near=near,
            far=far,
        )
        camera = fit_camera(np.vstack([p.points for p in focus]), view)
        if camera.pose[2, 3] > 0.05 and all(_side(p, camera, size) >= MIN_SIDE for p in focus):
            return camera
    return None


def _side(placed: PlacedItem, camera: SceneCamera, size: int) -> float:
    """Return the longer side of the object's outline in pixels, not cut at the picture's border."""
    local = (placed.points - camera.pose[:3, 3]) @ camera.pose[:3, :3]
    depth = np.maximum(local[:, 2:], 0.02)
    pixels = local[:, :2] / depth * camera.intrinsics(size, size)[0, 0]
    return float(np.ptp(pixels, axis=0).max())


def _is_inside(eye: np.ndarray, placed: Sequence[PlacedItem]) -> bool:
    """Return True if the camera's position lies within the bounds of an object."""
    return any(bool(np.all((eye > p.points.min(0)) & (eye < p.points.max(0)))) for p in placed)
