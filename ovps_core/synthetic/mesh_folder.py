"""Object classes from a folder of mesh files: ``DIR/valve/{wheel,stem}.stl`` is a valve with two parts.

The name of a subfolder is an object, the name of a file in it is a part; ``_`` stands for a space. The files of
an object share its frame, z up. Any format that trimesh reads will do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import trimesh

from ovps_core.errors import DatasetError
from ovps_core.synthetic.object_class import ObjectClass, PartMesh, ShapeRng

SUFFIXES = (".stl", ".obj", ".ply", ".off", ".glb", ".3mf")
_SCALES = {"m": 1.0, "mm": 0.001}
_MATERIALS = ("steel", "iron", "brass", "plastic", "paint", "rubber", "wood", "enamel")
_LARGEST, _SMALLEST = 4.0, 0.01  # metres; sizes beyond are of another unit
_COLOUR_GROUPS = "abcdefghijklmnop"


def mesh_object_parts(folder: str) -> list[tuple[str, str]]:
    """(object, part) of each file of a folder, sorted; no mesh is read.

    Raises:
        DatasetError: the folder holds no mesh in a subfolder.
    """
    files = sorted(p for p in Path(folder).glob("*/*") if p.suffix.lower() in SUFFIXES)
    if not files:
        raise DatasetError(
            f"{folder!r} holds no meshes; expected a subfolder for each object with a file for each part, such "
            f"as {folder}/valve/wheel.stl and {folder}/valve/stem.stl ({', '.join(SUFFIXES)})"
        )
    pairs = [(_name(p.parent.name), _name(p.stem)) for p in files]
    twice = next((pair for pair in pairs if pairs.count(pair) > 1), None)
    if twice:
        raise DatasetError(f"{folder!r} has two files for the {' '.join(twice)}; leave one")
    return pairs


def mesh_classes(folder: str, units: str) -> list[ObjectClass]:
    """Make a class of each subfolder. Its members differ in proportions, materials and colours.

    Args:
        folder: see :func:`mesh_object_parts`.
        units: "m" or "mm", of the numbers in the files.

    Raises:
        DatasetError: a file cannot be read, or an object has an unlikely size.
    """
    names = sorted({name for name, _ in mesh_object_parts(folder)})
    return [_read_class(Path(folder), name, units) for name in names]


def _name(stem: str) -> str:
    return stem.replace("_", " ").strip().lower()


def _read_class(folder: Path, name: str, units: str) -> ObjectClass:
    files = [
        path
        for path in sorted(folder.glob("*/*"))
        if _name(path.parent.name) == name and path.suffix.lower() in SUFFIXES
    ]
    meshes = {_name(path.stem): _read_mesh(path, _SCALES[units]) for path in files}
    corners = np.vstack([mesh.bounds for mesh in meshes.values()])
    size = float(np.max(corners.max(0) - corners.min(0)))
    if not _SMALLEST <= size <= _LARGEST:
        raise DatasetError(
            f"the {name} of {folder} is {size:g} m long in the unit {units!r}; expected {_SMALLEST:g} to "
            f"{_LARGEST:g} m. Give the unit of the files: --mesh-units mm or m"
        )
    centre = corners.reshape(-1, 2, 3).mean((0, 1))
    for mesh in meshes.values():
        mesh.apply_translation([-centre[0], -centre[1], -corners[:, 2].min()])
    return ObjectClass(
        name, _builder(meshes), tuple(meshes), "tabletop", size, ("settled", "dropped")
    )


def _read_mesh(path: Path, scale: float) -> trimesh.Trimesh:
    try:
        mesh: Any = trimesh.load_mesh(path)
    except Exception as error:  # each format's reader has its own kinds of errors
        raise DatasetError(f"{path} cannot be read as a mesh: {error}") from error
    if not isinstance(mesh, trimesh.Trimesh) or len(mesh.faces) < 4:
        raise DatasetError(f"{path} holds no solid; expected a mesh of triangles")
    mesh.apply_scale(scale)
    if mesh.volume < 0:
        mesh.invert()
    return mesh


def _builder(meshes: Mapping[str, trimesh.Trimesh]) -> Callable[[ShapeRng], list[PartMesh]]:
    def build(rng: ShapeRng) -> list[PartMesh]:
        stretch = [rng.uniform(0.9, 1.1), rng.uniform(0.9, 1.1), rng.latent(0.85, 1.2)]
        parts = []
        for i, (part, mesh) in enumerate(meshes.items()):
            copy = mesh.copy()
            copy.apply_transform(np.diag([*stretch, 1.0]))
            group = _COLOUR_GROUPS[i % len(_COLOUR_GROUPS)]
            parts.append(PartMesh(part, copy, rng.choice(_MATERIALS), group))
        return parts

    return build
