"""Object classes from a user's folder of textured scans, such as YCB, with part labels per face.

The folder holds sets. A set is a folder with ``parts.json`` and one folder per scan; see
:func:`find_scans`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import trimesh
from PIL import Image

from ovps_core.errors import DatasetError, ImageError
from ovps_core.structures.image_files import load_image
from ovps_core.synthetic.catalogue import OBJECT_CLASSES, OBJECT_PARTS
from ovps_core.synthetic.label_maps import UNSURE
from ovps_core.synthetic.object_class import OWN_TEXTURE, ObjectClass, PartMesh, ShapeRng
from ovps_core.synthetic.objects.clutter import CLUTTER
from ovps_core.synthetic.path_traced.scans import (
    BROKEN,
    RENAMED_PARTS,
    TEST_ONLY,
    Y_UP,
)
from ovps_core.synthetic.path_traced.scans import CLUTTER as KNOWN_CLUTTER
from ovps_core.synthetic.settings import Split

SCAN_OBJECT_PARTS: tuple[tuple[str, str], ...] = (
    *OBJECT_PARTS,
    ("jug", "lid"),
    ("jug", "spout"),
    ("pan", "knob"),
)
"""Pixel value i + 1 of a part map with scans is SCAN_OBJECT_PARTS[i].

Those of ``catalogue.OBJECT_PARTS`` come first, so they keep their values.
"""

_MESH_FILES = ("textured.npz", "textured.obj")
_TEXTURE_FILES = ("texture.jpg", "texture.png", "texture_map.png")
_TEXTURE_SIDE = 512
_PLAIN_MATERIALS = ("plastic", "paint", "steel", "wood", "ceramic", "rubber")


@dataclass(frozen=True)
class Scan:
    """One scan on disk.

    Attributes:
        name: its folder below the folder of scans, such as "ycb/025_mug".
        folder: the folder itself.
        object_name: its class, CLUTTER or UNSURE.
        parts: names of its parts; the value i + 1 of a face stands for ``parts[i]``.
        is_held_out: training does not see it; validation and test do.
    """

    name: str
    folder: Path
    object_name: str
    parts: tuple[str, ...]
    is_held_out: bool


def find_scans(root: str | Path) -> list[Scan]:
    """List every scan below a folder, sorted by name.

    A scan is a folder beside a ``parts.json`` that holds ``textured.npz`` (vertices float [V, 3]
    metres, faces int [F, 3], uv float [V, 2]) or ``textured.obj``. ``parts.json`` maps the names of
    these folders to ``{"object": ..., "parts": [...], "split": "train" or "test"}``. Parts need
    ``face_parts.npy`` uint8 [F]. A scan without an entry is UNSURE. The split is "train" without a
    value, and "test" for those in ``path_traced.scans.TEST_ONLY``; those in BROKEN are left out.

    Raises:
        DatasetError: there is no scan, or an entry cannot be read.
    """
    root = Path(root)
    found = []
    for table in root.rglob("parts.json"):
        try:
            entries = json.loads(table.read_text())
        except ValueError as error:
            raise DatasetError(f"{table} is no JSON file: {error}.") from error
        for folder in {
            path.parent for file in _MESH_FILES for path in table.parent.glob(f"*/{file}")
        }:
            name = folder.relative_to(root).as_posix()
            if name not in BROKEN:
                found.append(_scan(name, folder, entries.get(folder.name, {})))
    if not found:
        raise DatasetError(
            f"{str(root)!r} holds no scans; expected SET/parts.json and SET/NAME/textured.npz or "
            "SET/NAME/textured.obj."
        )
    return sorted(found, key=lambda scan: scan.name)


def _scan(name: str, folder: Path, entry: dict[str, Any]) -> Scan:
    renamed = RENAMED_PARTS.get(name, {})
    parts = tuple(renamed.get(part, part) for part in entry.get("parts", ()))
    split = entry.get("split", "test" if name in TEST_ONLY else "train")
    object_name = entry.get("object", CLUTTER if name in KNOWN_CLUTTER else UNSURE)
    if split not in ("train", "test"):
        raise DatasetError(
            f"parts.json gives {name!r} the split {split!r}; expected 'train' or 'test'."
        )
    if parts and not (folder / "face_parts.npy").is_file():
        raise DatasetError(f"{folder} has parts in parts.json but no face_parts.npy.")
    return Scan(name, folder, object_name, parts, split == "test")


def scan_classes(root: str | Path, split: Split) -> list[ObjectClass]:
    """Make a class from each scan that scenes of ``split`` may show; "val" and "test" share theirs.

    Raises:
        DatasetError: there is no scan, or one cannot be read.
    """
    held_out = split != "train"
    return [_object_class(scan) for scan in find_scans(root) if scan.is_held_out == held_out]


def _object_class(scan: Scan) -> ObjectClass:
    known = OBJECT_CLASSES.get(scan.object_name)
    vertices = load_mesh(scan.folder)[0]
    return ObjectClass(
        name=scan.object_name,
        build=_builder(scan),
        parts=scan.parts or ("",),
        level="wild",
        size=float(np.ptp(vertices, axis=0).max()),
        poses=("settled", "dropped", "dropped"),
        has_front=known.has_front if known else False,
    )


def _builder(scan: Scan) -> Callable[[ShapeRng], list[PartMesh]]:
    """Return a function that draws a member: stretched, and with a texture or plain materials."""

    def build(rng: ShapeRng) -> list[PartMesh]:
        texture = load_texture(scan.folder)
        if texture is not None and rng.chance(0.5):
            texture = recolour(texture, rng)
        if rng.chance(0.12):
            texture = None
        stretch = rng.uniform(0.85, 1.18) * np.array([rng.uniform(0.94, 1.06) for _ in range(3)])
        pieces = split_parts(scan, stretch, texture)
        if texture is not None:
            return [PartMesh(part, mesh, OWN_TEXTURE) for part, mesh in pieces]
        kinds = [rng.choice(_PLAIN_MATERIALS) for _ in pieces]
        if rng.chance(0.4):
            return [PartMesh(part, mesh, kinds[0]) for part, mesh in pieces]
        return [
            PartMesh(part, mesh, kinds[i], colour_group=str(i))
            for i, (part, mesh) in enumerate(pieces)
        ]

    return build


def split_parts(
    scan: Scan, stretch: np.ndarray, texture: np.ndarray | None
) -> list[tuple[str, trimesh.Trimesh]]:
    """Cut a scan along its part labels; faces with the value 0 are left out.

    Args:
        scan: the scan.
        stretch: float64 [3], scale along each axis.
        texture: RGB uint8 [H, W, 3] of the meshes; None for meshes without one.

    Returns:
        Name and mesh of each part; the normals are those of the whole scan.

    Raises:
        DatasetError: the labels do not fit the mesh.
    """
    vertices, faces, uv = load_mesh(scan.folder)
    if scan.name in Y_UP:
        vertices = vertices[:, [0, 2, 1]] * [1, -1, 1]
    vertices = vertices * stretch
    vertices = vertices - np.array([*vertices.mean(0)[:2], vertices[:, 2].min()])
    normals = smooth_normals(vertices, faces)
    labels = np.ones(len(faces), np.uint8)
    if scan.parts:
        labels = np.load(scan.folder / "face_parts.npy")
    if labels.shape != (len(faces),):
        raise DatasetError(
            f"{scan.folder} has {len(faces)} faces, but face_parts.npy has shape {labels.shape}."
        )
    image = None if texture is None else Image.fromarray(texture)
    pieces = []
    for i, part in enumerate(scan.parts or ("",), start=1):
        used, index = np.unique(faces[labels == i], return_inverse=True)
        if len(used) < 4:
            continue
        visual = None
        if image is not None:
            material = trimesh.visual.material.SimpleMaterial(image=image)
            visual = trimesh.visual.TextureVisuals(uv=uv[used], material=material)
        mesh = trimesh.Trimesh(
            vertices=vertices[used],
            faces=index.reshape(-1, 3),
            vertex_normals=normals[used],
            visual=visual,
            process=False,
        )
        pieces.append((part, mesh))
    if not pieces:
        raise DatasetError(f"No face of {scan.folder} has the label of one of its parts.")
    return pieces


def smooth_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Compute unit normals float64 [V, 3], equal for vertices at one place.

    A texture seam doubles vertices; equal normals keep it from showing in the shading.

    Args:
        vertices: [V, 3] metres.
        faces: [F, 3] vertex indices.
    """
    _, place = np.unique(np.round(vertices, 6), axis=0, return_inverse=True)
    place = place.ravel()
    corners = vertices[faces].astype(np.float64)
    area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.zeros((place.max() + 1, 3))
    for k in range(3):
        np.add.at(total, place[faces[:, k]], area)
    length = np.linalg.norm(total, axis=1, keepdims=True)
    unit = np.where(length > 1e-12, total / np.maximum(length, 1e-12), [0.0, 0.0, 1.0])
    return np.asarray(unit[place])


@lru_cache(maxsize=256)
def load_mesh(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read a scan's mesh, with one vertex per position and texture coordinate.

    Returns:
        Vertices float [V, 3] metres, faces int [F, 3], and texture coordinates float [V, 2] with
        the origin at the bottom left.

    Raises:
        DatasetError: the file has no texture coordinates.
    """
    path = folder / "textured.npz"
    if path.is_file():
        with np.load(path) as file:
            vertices, faces, uv = file["vertices"], file["faces"], file["uv"]
            if "uv_faces" not in file:
                return vertices, faces, uv
            corners = np.stack([faces.ravel(), file["uv_faces"].ravel()], axis=1)
        unique, index = np.unique(corners, axis=0, return_inverse=True)
        return vertices[unique[:, 0]], index.reshape(-1, 3), uv[unique[:, 1]]
    path = folder / "textured.obj"
    mesh: Any = trimesh.load_mesh(path, process=False, skip_materials=True)
    uv = getattr(mesh.visual, "uv", None)
    if uv is None:
        raise DatasetError(f"{path} has no texture coordinates.")
    return np.asarray(mesh.vertices), np.asarray(mesh.faces), np.asarray(uv)


@lru_cache(maxsize=256)
def load_texture(folder: Path) -> np.ndarray | None:
    """Read a scan's texture, RGB uint8 [512, 512, 3]; None without one that can be read."""
    for path in (folder / name for name in _TEXTURE_FILES):
        try:
            image = load_image(path)
        except ImageError:
            continue
        side = (_TEXTURE_SIDE, _TEXTURE_SIDE)
        return np.asarray(cv2.resize(image, side, interpolation=cv2.INTER_AREA), np.uint8)
    return None


def recolour(texture: np.ndarray, rng: ShapeRng) -> np.ndarray:
    """Turn the hue and change saturation and brightness of a texture, RGB uint8 [H, W, 3]."""
    hsv = np.asarray(cv2.cvtColor(texture, cv2.COLOR_RGB2HSV), np.float32)
    hsv[..., 0] = (hsv[..., 0] + rng.uniform(0, 180)) % 180
    hsv[..., 1] = np.clip(hsv[..., 1] * rng.uniform(0.2, 1.4), 0, 255)
    hsv[..., 2] = np.clip(255 * (hsv[..., 2] / 255) ** rng.uniform(0.6, 1.6), 0, 255)
    return np.asarray(cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2RGB), dtype=np.uint8)
