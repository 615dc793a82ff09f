"""Part-labelled textured scans: their split into training and test, and their reader."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from ovps_core.errors import DatasetError
from ovps_core.synthetic.settings import Split

LABELLED_FOLDERS = ("ycb", "household", "google_scanned", "kitchen/split")

TEST_ONLY = frozenset(
    {
        "google_scanned/frypan",
        "google_scanned/hammer",
        "google_scanned/scissors",
        "google_scanned/screwdriver",
        "google_scanned/spatula_with_purple_head",
        "household/black_marker",
        "household/red_marker",
        "household/glue_1",
        "household/shampoo",
        "kitchen/split/bigym_mug",
        "kitchen/split/bigym_saucepan",
        "ycb/003_cracker_box",
        "ycb/010_potted_meat_can",
        "ycb/014_lemon",
        "ycb/016_pear",
        "ycb/036_wood_block",
        "ycb/054_softball",
        "ycb/077_rubiks_cube",
        "household/stapler_1",
        "household/toothpaste_1",
    }
)
"""Scans of the test split; training shows none of these shapes, in any colour."""

BROKEN = frozenset({"ycb/022_windex_bottle", "ycb/027_skillet", "ycb/028_skillet_lid"})
"""Labelled scans that are left out: a scanner cannot measure transparent objects."""

CLUTTER = tuple(
    f"ycb/{name}"
    for name in (
        "002_master_chef_can", "003_cracker_box", "004_sugar_box", "005_tomato_soup_can",
        "007_tuna_fish_can", "008_pudding_box", "009_gelatin_box", "010_potted_meat_can",
        "011_banana", "012_strawberry", "013_apple", "014_lemon", "015_peach", "016_pear",
        "017_orange", "018_plum", "026_sponge", "036_wood_block", "053_mini_soccer_ball",
        "054_softball", "055_baseball", "056_tennis_ball", "057_racquetball", "058_golf_ball",
        "061_foam_brick", "073-a_lego_duplo", "073-c_lego_duplo", "077_rubiks_cube",
    )
) + tuple(
    f"household/{name}"
    for name in (
        "orion_pie", "poker_1", "remote_controller_1", "remote_controller_2", "soap", "stapler_1",
        "stapler_2", "toothpaste_1",
    )
)  # fmt: skip
"""Unlabelled scans beside the labelled objects; no query names a part of them."""

Y_UP = frozenset(f"kitchen/split/bigym_{name}" for name in ("mug", "pan", "saucepan", "spatula"))
"""Models with y up; all others have z up."""

RENAMED_PARTS = {"kitchen/split/bigym_mug": {"rim": "body"}}
"""Corrections of wrong part labels in the source: given name -> correct name."""


@dataclass(frozen=True)
class Scan:
    """One scanned object.

    Attributes:
        name: its folder below the scans.
        object_name: its class; "" for clutter.
        parts: the names that ``face_parts`` counts from 1.
        vertices: float64 [V, 3] metres, z up, one per position.
        faces: int64 [F, 3].
        corner_uv: float32 [F, 3, 2], origin at the bottom left; None without texture.
        face_parts: uint8 [F]; 0 is no part.
        texture: its picture; "" without one.
    """

    name: str
    object_name: str
    parts: tuple[str, ...]
    vertices: np.ndarray
    faces: np.ndarray
    corner_uv: np.ndarray | None
    face_parts: np.ndarray
    texture: str


def is_shown(name: str, split: Split) -> bool:
    """Return True if scenes of a split may show the scan; no scan is in both training and test."""
    return (name in TEST_ONLY) == (split == "test")


@lru_cache(maxsize=4)
def labelled_scans(folder: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Find the part-labelled scans below ``folder``: name -> (object, parts), of known objects only.

    Raises:
        DatasetError: the folder holds none.
    """
    from ovps_core.synthetic.catalogue import OBJECT_CLASSES

    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for group in LABELLED_FOLDERS:
        table = Path(folder) / group / "parts.json"
        if not table.is_file():
            continue
        for name, entry in json.loads(table.read_text()).items():
            full = f"{group}/{name}"
            if entry["object"] in OBJECT_CLASSES and full not in BROKEN:
                renamed = RENAMED_PARTS.get(full, {})
                parts = tuple(renamed.get(p, p) for p in entry["parts"])
                found[full] = (entry["object"], parts)
    if not found:
        raise DatasetError(
            f"{folder!r} holds no part-labelled scans: no parts.json with known objects in "
            f"{', '.join(LABELLED_FOLDERS)}."
        )
    return found


def extra_object_parts(folder: str) -> list[tuple[str, str]]:
    """List the (object, part) that only scans have, sorted; they follow those of the catalogue."""
    if not folder:
        return []
    from ovps_core.synthetic.catalogue import OBJECT_PART_ID

    named = {(o, p) for o, parts in labelled_scans(folder).values() for p in parts}
    return sorted(named - set(OBJECT_PART_ID))


@lru_cache(maxsize=64)
def load_scan(folder: str, name: str) -> Scan:
    """Read one scan; its vertices at the same position are merged, so that it shades without seams."""
    base = Path(folder) / name
    arrays, obj = base / "textured.npz", base / "textured.obj"
    if arrays.is_file():
        with np.load(arrays) as stored:
            vertices, faces = stored["vertices"].astype(np.float64), stored["faces"]
            uv = stored.get("uv", None)
            uv_faces = stored.get("uv_faces", faces)
    else:
        require_file(obj)
        vertices, faces, uv, uv_faces = read_obj(obj)
    texture = next((str(base / f"texture.{e}") for e in ("jpg", "png")
                    if (base / f"texture.{e}").is_file()), "")  # fmt: skip
    corner_uv = uv[uv_faces].astype(np.float32) if texture and uv is not None else None
    labels = base / "face_parts.npy"
    owner, parts = labelled_scans(folder).get(name, ("", ()))
    known = labels.is_file() and parts
    face_parts = np.load(labels) if known else np.zeros(len(faces), np.uint8)
    if name in Y_UP:
        vertices = np.stack([vertices[:, 0], -vertices[:, 2], vertices[:, 1]], -1)
    _, first, welded = np.unique(
        np.round(vertices, 6), axis=0, return_index=True, return_inverse=True
    )
    faces = welded.reshape(-1)[faces]
    return Scan(name, owner, parts, vertices[first], faces, corner_uv, face_parts, texture)


def require_file(path: Path) -> None:
    """Check that a file of the scans exists.

    Raises:
        DatasetError: it does not.
    """
    if not path.is_file():
        raise DatasetError(
            f"{path} is missing. docs/rendered_scenes.md lists the subfolders that --scans needs."
        )


def read_obj(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray | None, np.ndarray]:
    """Read vertices [V, 3], triangles [F, 3], texture corners [T, 2] or None, and their triangles."""
    points: list[list[float]] = []
    corners: list[list[float]] = []
    faces: list[list[int]] = []
    uv_faces: list[list[int]] = []
    for line in path.read_text().splitlines():
        word, *rest = line.split() or [""]
        if word == "v":
            points.append([float(v) for v in rest[:3]])
        elif word == "vt":
            corners.append([float(v) for v in rest[:2]])
        elif word == "f":
            indices = [corner.split("/") for corner in rest]
            for k in range(1, len(indices) - 1):
                triangle = (indices[0], indices[k], indices[k + 1])
                faces.append([int(i[0]) - 1 for i in triangle])
                uv_faces.append([int(i[1]) - 1 if len(i) > 1 and i[1] else 0 for i in triangle])
    uv = np.array(corners) if corners else None
    return np.array(points), np.array(faces), uv, np.array(uv_faces)
