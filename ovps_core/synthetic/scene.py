"""Composition of one tabletop scene: objects, materials, lights and camera in the pool's model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ovps_core.synthetic.layout import PlacedItem, arrange_on_table
from ovps_core.synthetic.materials import draw_colour, draw_table_colour
from ovps_core.synthetic.object_class import OWN_TEXTURE
from ovps_core.synthetic.object_pool import CAMERA_BODY, HIDDEN_GROUP, SHOWN_GROUP, ObjectPool
from ovps_core.synthetic.objects.clutter import CLUTTER
from ovps_core.synthetic.viewpoint import SceneCamera, Viewpoint, fit_camera, sample_azimuth

COUNT_WEIGHTS = np.array([0.30, 0.27, 0.19, 0.12, 0.08, 0.04])
"""Probabilities of 1 to 6 objects in a scene."""


def sample_camera(placed: Sequence[PlacedItem], rng: np.random.Generator) -> SceneCamera:
    """Draw a wrist or head camera, 0.2 to 0.8 m from the objects, which fill the picture."""
    focus = [p.points for p in placed]
    if len(placed) > 1 and rng.random() < 0.5:
        keep = rng.permutation(len(placed))[: int(rng.integers(1, max(2, len(placed) // 2 + 1)))]
        focus = [placed[i].points for i in keep]
    elevation = np.radians(rng.triangular(18, 48, 88))
    roll = rng.uniform(-0.15, 0.15) if rng.random() < 0.85 else rng.uniform(-np.pi, np.pi)
    # The order of the draws is part of a seed's pixels.
    view = Viewpoint(
        azimuth=sample_azimuth(placed, rng),
        elevation=elevation,
        fovy=rng.uniform(38, 58),
        margin=rng.uniform(0.85, 1.15),
        roll=roll,
        shift=rng.uniform(-0.08, 0.08, 2),
        near=0.2,
        far=0.8,
    )
    return fit_camera(np.vstack(focus), view)


def assign_materials(
    pool: ObjectPool, placed: Sequence[PlacedItem], rng: np.random.Generator
) -> None:
    """Draw materials and colours of the table and of the placed objects.

    Parts of one object with the same colour group and material kind get the same ones. Parts with
    a texture of their own keep it.
    """
    model = pool.model
    for geom in (pool.table_geom, pool.floor_geom):
        index = int(rng.integers(len(pool.tables)))
        model.geom_matid[geom] = pool.tables[index]
        model.geom_rgba[geom] = draw_table_colour(index, rng)
    for p in placed:
        chosen: dict[tuple[str, str], tuple[int, tuple[float, ...]]] = {}
        for part, geom in zip(p.item.parts, p.item.geoms, strict=True):
            if part.material == OWN_TEXTURE:
                continue
            key = (part.colour_group, part.material)
            if key not in chosen:
                options = pool.materials[part.material]
                chosen[key] = (
                    options[int(rng.integers(len(options)))],
                    draw_colour(part.material, rng),
                )
            model.geom_matid[geom], model.geom_rgba[geom] = chosen[key]


def populate_renderer(pool: ObjectPool, placed: Sequence[PlacedItem], camera: SceneCamera) -> None:
    """Set the poses of the placed items and of the camera; hide every other item."""
    import mujoco

    model, data = pool.model, pool.data
    model.geom_group[:] = HIDDEN_GROUP
    model.geom_group[[pool.table_geom, pool.floor_geom]] = SHOWN_GROUP
    quat = np.empty(4)
    for p in placed:
        model.geom_group[list(p.item.geoms)] = SHOWN_GROUP
        data.mocap_pos[p.item.mocap] = p.pose[:3, 3]
        mujoco.mju_mat2Quat(quat, p.pose[:3, :3].ravel())
        data.mocap_quat[p.item.mocap] = quat
    set_camera(pool, camera)


def set_camera(pool: ObjectPool, camera: SceneCamera) -> None:
    """Set the pose and the field of view of the pool's camera."""
    import mujoco

    mocap = int(pool.model.body_mocapid[pool.model.body(CAMERA_BODY).id])
    quat = np.empty(4)
    # MuJoCo's camera looks along -z with y up; the optical frame looks along z with y down.
    flipped = camera.pose[:3, :3] * [1.0, -1.0, -1.0]
    mujoco.mju_mat2Quat(quat, np.ascontiguousarray(flipped).ravel())
    pool.data.mocap_pos[mocap] = camera.pose[:3, 3]
    pool.data.mocap_quat[mocap] = quat
    pool.model.cam_fovy[0] = camera.fovy


def set_lights(pool: ObjectPool, rng: np.random.Generator) -> None:
    """Draw the light of a room: one key light with shadows and two weaker fills, nearly white."""
    model = pool.model
    warmth = rng.uniform(-0.07, 0.07)
    white = np.array([1 + warmth, 1.0, 1 - warmth])
    power = (rng.uniform(0.3, 0.5), rng.uniform(0.18, 0.34), rng.uniform(0.12, 0.26))
    key = rng.uniform(0, 2 * np.pi)
    for i in range(3):
        # The second light comes from the side that the key light leaves dark.
        azimuth = key + (0.0, np.pi + rng.uniform(-0.8, 0.8), rng.uniform(0, 2 * np.pi))[i]
        height = rng.uniform(0.9, 3.0)
        direction = -np.array([np.cos(azimuth), np.sin(azimuth), height])
        direction /= np.linalg.norm(direction)
        model.light_dir[i] = direction
        model.light_pos[i] = -direction * 1.5
        model.light_diffuse[i] = power[i] * white
        model.light_specular[i] = power[i] * 0.6
        model.light_ambient[i] = (rng.uniform(0.3, 0.45) if i == 0 else 0.0) * white
    model.light_castshadow[0] = rng.random() < 0.8


def compose_tabletop(
    pool: ObjectPool, rng: np.random.Generator
) -> tuple[list[PlacedItem], SceneCamera]:
    """Set up one tabletop scene in the pool's model; return its objects and its camera."""
    named = [item for item in pool.items if item.object_name != CLUTTER]
    clutter = [item for item in pool.items if item.object_name == CLUTTER]
    n = 1 + int(rng.choice(len(COUNT_WEIGHTS), p=COUNT_WEIGHTS))
    chosen = [named[i] for i in rng.permutation(len(named))[:n]]
    placed = arrange_on_table(chosen, rng)
    camera = sample_camera(placed, rng)
    if rng.random() < 0.3:
        extra = [clutter[i] for i in rng.permutation(len(clutter))[: int(rng.integers(1, 3))]]
        placed = arrange_on_table(extra, rng, placed)
    assign_materials(pool, placed, rng)
    populate_renderer(pool, placed, camera)
    set_lights(pool, rng)
    return placed, camera
