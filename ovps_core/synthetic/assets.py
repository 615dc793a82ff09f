"""Object classes from part-split meshes in a user's folder: knife, hammer, scissors, microwave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import trimesh

from ovps_core.errors import DatasetError
from ovps_core.synthetic.catalogue import object_class
from ovps_core.synthetic.meshes import join, place
from ovps_core.synthetic.object_class import ObjectClass, PartMesh, ShapeRng


@dataclass(frozen=True)
class AssetObject:
    """One object of vikashplus/object_sim or furniture_sim (both Apache-2.0).

    Attributes:
        object_name: its class in the catalogue.
        folder: folder of its STL files, relative to the user's folder.
        parts: for each part its name, its STL files without suffix, and its possible materials.
        degrees: turn about z that brings its front to -x.
    """

    object_name: str
    folder: str
    parts: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]
    degrees: float = 0.0


_GRIP, _METAL = ("wood", "plastic", "rubber"), ("steel", "iron")
ASSETS: tuple[AssetObject, ...] = (
    AssetObject(
        "knife",
        "object_sim/knife",
        (("handle", ("knife_handle",), _GRIP), ("blade", ("knife_blade",), ("steel",))),
    ),
    AssetObject(
        "hammer",
        "object_sim/hammer",
        (("handle", ("hammer_neck",), _GRIP), ("head", ("hammer_head",), _METAL)),
    ),
    # The file names mislead: "head" holds the finger rings, "stem" the blades.
    AssetObject(
        "scissors",
        "object_sim/scissors",
        (
            ("handle", ("scissors_head",), ("plastic", "rubber")),
            ("blade", ("scissors_stem",), ("steel",)),
        ),
    ),
    AssetObject(
        "microwave",
        "furniture_sim/microwave/meshes",
        (
            ("body", ("micro", "microfeet"), ("steel", "plastic", "paint")),
            ("door", ("microdoor",), ("steel", "plastic")),
            ("window", ("microwindow",), ("glass",)),
            ("handle", ("microhandle",), ("steel", "plastic")),
            ("button", ("microbutton",), ("plastic",)),
        ),
        degrees=-90.0,
    ),
)


def asset_classes(folder: str) -> list[ObjectClass]:
    """Make a class from each object of ASSETS whose files are in ``folder``.

    Its members differ in their proportions: each axis is scaled by a random factor.

    Raises:
        DatasetError: the folder holds none of them; the message lists the expected subfolders.
    """
    found = []
    for asset in ASSETS:
        base = Path(folder) / asset.folder
        files = [base / f"{name}.stl" for _, names, _ in asset.parts for name in names]
        if all(file.is_file() for file in files):
            known = object_class(asset.object_name)
            poses = ("as_built",) if known.has_front else ("settled",)
            found.append(replace(known, build=_builder(asset, base), poses=poses))
    if not found:
        wanted = ", ".join(sorted(asset.folder for asset in ASSETS))
        raise DatasetError(
            f"{folder!r} holds none of the known part-split meshes; expected one of these "
            f"subfolders with its STL files: {wanted}."
        )
    return found


def _builder(asset: AssetObject, base: Path) -> Callable[[ShapeRng], list[PartMesh]]:
    def build(rng: ShapeRng) -> list[PartMesh]:
        stretch = [rng.uniform(0.85, 1.2) for _ in range(3)]
        parts = []
        for i, (part, names, materials) in enumerate(asset.parts):
            mesh = join(*(trimesh.load_mesh(base / f"{name}.stl") for name in names))
            mesh.apply_transform(np.diag([*stretch, 1.0]))
            place(mesh, degrees=asset.degrees)
            parts.append(PartMesh(part, mesh, rng.choice(materials), "abcde"[i]))
        low = np.min([p.mesh.vertices[:, 2].min() for p in parts])
        for p in parts:
            p.mesh.apply_translation([0, 0, -low])
        return parts

    return build
