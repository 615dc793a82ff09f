"""Pool of objects in one compiled MuJoCo model, moved and recoloured between scenes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ovps_core.synthetic.materials import (
    MATERIAL_KINDS,
    add_texture,
    object_textures,
    table_textures,
)
from ovps_core.synthetic.object_class import OWN_TEXTURE, ObjectClass, PartMesh, ShapeRng
from ovps_core.synthetic.settings import Split
from ovps_core.synthetic.stable_poses import StablePose, stable_poses

SHOWN_GROUP, HIDDEN_GROUP = 0, 4
"""MuJoCo geom groups: the renderer draws the first and skips the second."""

CAMERA_BODY = "camera"
TABLE_HALF_SIZE = (0.9, 0.7)
"""Half the table's length and width, metres."""

FLOOR_Z = -0.75
"""Height of the floor below the table's top, metres."""

NEAR, FAR = 0.02, 12.0
"""Clipping planes of the camera, metres."""


@dataclass(frozen=True)
class PoolItem:
    """One object of a pool.

    Attributes:
        object_name: name of its class; "" for unlabelled clutter.
        size: typical longest side of its class, metres.
        has_front: its front, towards -x, mostly faces the camera.
        parts: its parts.
        geoms: MuJoCo geom id of each part.
        mocap: index of its body among the model's mocap bodies.
        stable_poses: poses in which it can stand on the table.
    """

    object_name: str
    size: float
    has_front: bool
    parts: tuple[PartMesh, ...]
    geoms: tuple[int, ...]
    mocap: int
    stable_poses: tuple[StablePose, ...]


@dataclass(frozen=True)
class ObjectPool:
    """A compiled MuJoCo model with its objects and materials.

    Attributes:
        model: MjModel.
        data: MjData of the model.
        items: the objects.
        materials: MuJoCo material ids of each material kind.
        tables: MuJoCo material ids of table tops.
        table_geom: geom id of the table.
        floor_geom: geom id of the floor.
    """

    model: Any
    data: Any
    items: tuple[PoolItem, ...]
    materials: dict[str, tuple[int, ...]]
    tables: tuple[int, ...]
    table_geom: int
    floor_geom: int


def build_object_pool(
    classes: Sequence[ObjectClass],
    rng: np.random.Generator,
    split: Split,
    width: int,
    height: int,
    samples: int = 4,
    table_pictures: Sequence[np.ndarray] = (),
) -> ObjectPool:
    """Draw one member of each class and compile them into one model.

    Args:
        classes: repeat a class for several members.
        rng: draws shapes, textures and poses.
        split: decides which shapes may be drawn.
        width: of the pictures, pixels.
        height: of the pictures, pixels.
        samples: antialiasing samples per pixel of RGB; 0 halves the rendering time.
        table_pictures: more table tops after the painted ones, each uint8 [H, W, 3].
    """
    import mujoco

    spec = mujoco.MjSpec()
    _set_visuals(spec, width, height, samples)
    kinds, tables = _add_materials(spec, rng, table_pictures)
    _add_world(spec, tables[0])
    drawn = [(c, tuple(c.build(ShapeRng(rng, split)))) for c in classes]
    for i, (_, parts) in enumerate(drawn):
        _add_object(spec, f"item{i}", parts)
    model = spec.compile()
    geom_id = _ids(model, mujoco.mjtObj.mjOBJ_GEOM)
    material_id = _ids(model, mujoco.mjtObj.mjOBJ_MATERIAL)
    items = tuple(
        PoolItem(
            object_name=c.name,
            size=c.size,
            has_front=c.has_front,
            parts=parts,
            geoms=tuple(geom_id(f"item{i}_{k}") for k in range(len(parts))),
            mocap=int(model.body_mocapid[model.body(f"item{i}").id]),
            stable_poses=tuple(
                stable_poses(np.vstack([p.mesh.vertices for p in parts]), c.poses, rng)
            ),
        )
        for i, (c, parts) in enumerate(drawn)
    )
    return ObjectPool(
        model=model,
        data=mujoco.MjData(model),
        items=items,
        materials={k: tuple(material_id(n) for n in names) for k, names in kinds.items()},
        tables=tuple(material_id(n) for n in tables),
        table_geom=geom_id("table"),
        floor_geom=geom_id("floor"),
    )


def _ids(model: Any, kind: Any) -> Callable[[str], int]:
    """Return a function from the names of one kind of MuJoCo object to its ids."""
    import mujoco

    return lambda name: int(mujoco.mj_name2id(model, kind, name))


def _set_visuals(spec: Any, width: int, height: int, samples: int) -> None:
    spec.visual.global_.offwidth = width
    spec.visual.global_.offheight = height
    spec.visual.quality.shadowsize = 2048
    spec.visual.quality.offsamples = samples
    spec.visual.map.znear = NEAR
    spec.visual.map.zfar = FAR
    spec.visual.map.shadowclip = 1.0
    spec.visual.headlight.active = 0
    spec.stat.extent = 1.0
    spec.stat.center = [0.0, 0.0, 0.0]


def _add_world(spec: Any, material: str) -> None:
    """Add table, floor, camera and lights; the camera and the objects are mocap bodies."""
    import mujoco

    world = spec.worldbody
    world.add_geom(
        name="table",
        type=mujoco.mjtGeom.mjGEOM_BOX,
        size=[*TABLE_HALF_SIZE, 0.02],
        pos=[0, 0, -0.02],
        material=material,
    )
    world.add_geom(
        name="floor",
        type=mujoco.mjtGeom.mjGEOM_PLANE,
        size=[6, 6, 0.1],
        pos=[0, 0, FLOOR_Z],
        material=material,
    )
    world.add_body(name=CAMERA_BODY, mocap=True).add_camera(name=CAMERA_BODY)
    for i in range(3):
        world.add_light(
            name=f"light{i}", type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, castshadow=i == 0
        )


def _add_material(
    spec: Any, name: str, texture: str, specular: float, shininess: float, repeat: float
) -> None:
    import mujoco

    slots = [""] * int(mujoco.mjtTextureRole.mjNTEXROLE)
    slots[int(mujoco.mjtTextureRole.mjTEXROLE_RGB)] = texture
    spec.add_material(
        name=name,
        textures=slots,
        specular=specular,
        shininess=shininess,
        texrepeat=[repeat, repeat],
        rgba=[1, 1, 1, 1],
    )


def _add_materials(
    spec: Any, rng: np.random.Generator, table_pictures: Sequence[np.ndarray]
) -> tuple[dict[str, list[str]], list[str]]:
    """Add textures and materials; return their names per material kind, and those of tables."""
    import mujoco

    for name, image in object_textures(rng).items():
        add_texture(spec, name, image, cube=True)
    kinds: dict[str, list[str]] = {}
    for kind, look in MATERIAL_KINDS.items():
        kinds[kind] = [f"{kind}_{i}" for i in range(len(look.textures))]
        for name, texture in zip(kinds[kind], look.textures, strict=True):
            _add_material(spec, name, texture, look.specular, look.shininess, 1.0)
    tables = []
    for i, image in enumerate([*table_textures(rng), *table_pictures]):
        name = f"table{i}"
        add_texture(spec, name, image, cube=False)
        tables.append(name)
        _add_material(spec, name, name, rng.uniform(0.0, 0.25), 0.3, rng.uniform(1.0, 3.0))
    sky = np.linspace(0.95, 0.45, 64)[:, None] * np.ones((64, 64)) * 255
    add_texture(spec, "sky", np.repeat(sky.astype(np.uint8)[..., None], 3, -1), cube=True)
    spec.textures[-1].type = mujoco.mjtTexture.mjTEXTURE_SKYBOX
    return kinds, tables


def _add_object(spec: Any, name: str, parts: tuple[PartMesh, ...]) -> None:
    import mujoco

    body = spec.worldbody.add_body(name=name, mocap=True)
    textured = [part.mesh for part in parts if part.material == OWN_TEXTURE]
    if textured:  # the parts of one object share its texture
        visual: Any = textured[0].visual
        add_texture(spec, name, np.asarray(visual.material.image), cube=False)
        _add_material(spec, name, name, 0.2, 0.3, 1.0)
    for k, part in enumerate(parts):
        has_texture = part.material == OWN_TEXTURE
        spec.add_mesh(
            name=f"{name}_{k}",
            uservert=part.mesh.vertices.astype(np.float32).ravel(),
            userface=part.mesh.faces.astype(np.int32).ravel(),
            inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
            **(_texture_arrays(part) if has_texture else {}),
        )
        body.add_geom(
            name=f"{name}_{k}",
            type=mujoco.mjtGeom.mjGEOM_MESH,
            meshname=f"{name}_{k}",
            contype=0,
            conaffinity=0,
            group=HIDDEN_GROUP,
            **({"material": name} if has_texture else {}),
        )


def _texture_arrays(part: PartMesh) -> dict[str, np.ndarray]:
    """Return the normals and texture coordinates of a part as arguments of ``add_mesh``."""
    visual: Any = part.mesh.visual
    uv = visual.uv * [1, -1] + [0, 1]  # MuJoCo's origin is at the top left
    return {
        "usernormal": part.mesh.vertex_normals.astype(np.float32).ravel(),
        "usertexcoord": uv.astype(np.float32).ravel(),
    }
