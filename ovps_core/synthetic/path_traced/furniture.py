"""Textured furniture with doors, drawers and handles: kitchens, cabinets, a wardrobe, a fridge."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from ovps_core.synthetic.path_traced.object_models import (
    Finish,
    ObjectModel,
    Surface,
    random_finish,
)
from ovps_core.synthetic.path_traced.scans import read_obj, require_file
from ovps_core.synthetic.settings import Split
from ovps_core.synthetic.stable_poses import stable_poses

_FRONT = np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
"""Rotation from a front towards -y, as in all sources with z up, to a front towards -x."""

# Rotation from y up to z up.
_Z_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
# Turns of the bar handle: lying across a drawer, and from there upright along a door.
_ACROSS = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
_ALONG = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])

# The finishes of one piece of furniture: carcass, front, metal, worktop.
Finishes = dict[str, Finish]


def names(split: Split) -> tuple[str, ...]:
    """List the furniture that scenes of a split may show; training and test share no piece."""
    if split == "test":
        return ("painted_wooden_cabinet", "painted_wooden_cabinet_02", "wardrobe")
    return ("kitchen", "kitchen", "kitchen", "fridge")


def build_furniture(folder: str, name: str, rng: np.random.Generator) -> ObjectModel:
    """Build one piece of furniture, or a row of kitchen modules, from the files below ``folder``.

    Raises:
        DatasetError: a file of the piece is missing.
    """
    build: dict[str, Callable[[Path, Finishes, np.random.Generator], list[Surface]]] = {
        "kitchen": _kitchen,
        "fridge": _fridge,
        "wardrobe": _wardrobe,
        "painted_wooden_cabinet": _painted_cabinet("painted_wooden_cabinet"),
        "painted_wooden_cabinet_02": _painted_cabinet("painted_wooden_cabinet_02"),
    }
    fronts = ("paint", "paint", "wood", "plastic")
    finishes = {
        "carcass": random_finish(str(rng.choice(("paint", "wood"))), rng, muted=True),
        "front": random_finish(str(rng.choice(fronts)), rng, muted=True),
        "metal": random_finish(str(rng.choice(("steel", "zinc", "brass", "iron"))), rng),
        "worktop": random_finish(str(rng.choice(("wood", "ceramic", "plastic"))), rng, muted=True),
    }
    if rng.random() < 0.5:
        finishes["carcass"] = finishes["front"]
    surfaces = build[name](Path(folder), finishes, rng)
    points = np.vstack([s.vertices for s in surfaces])
    object_name = surfaces[0].owner
    return ObjectModel(
        object_name, name, True, tuple(surfaces), tuple(stable_poses(points, ("as_built",), rng))
    )


def _part(
    part: str, owner: str, number: int, finish: Finish, vertices: np.ndarray, faces: np.ndarray,
    corner_uv: np.ndarray | None = None,
) -> Surface:  # fmt: skip
    """Make a surface of one part; ``vertices`` have z up and the front towards -y."""
    return Surface(
        parts=(part,), finishes=(finish,), vertices=vertices @ _FRONT.T, faces=faces,
        face_parts=np.zeros(len(faces), np.int64), corner_uv=corner_uv, crease=30.0,
        owner=owner, number=number,
    )  # fmt: skip


def _box(low: ArrayLike, high: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    corners = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float64)
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = [(q[0], q[k], q[k + 1]) for q in quads for k in (1, 2)]
    return np.asarray(low) + corners * (np.asarray(high) - np.asarray(low)), np.array(faces)


@lru_cache(maxsize=32)
def _piece(path: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Read vertices [V, 3], faces [F, 3] and texture coordinates [F, 3, 2] of an .obj or .npz."""
    require_file(Path(path))
    if path.endswith(".npz"):
        with np.load(path) as stored:
            uv = stored["uv"][stored["uv_faces"] if "uv_faces" in stored else stored["faces"]]
            return stored["vertices"].astype(np.float64), stored["faces"].astype(np.int64), uv
    vertices, faces, corners, uv_faces = read_obj(Path(path))
    return vertices, faces, None if corners is None else corners[uv_faces]


def _kitchen(folder: Path, finishes: Finishes, rng: np.random.Generator) -> list[Surface]:
    """Build one to four base modules of 0.6 m with a worktop, sometimes with wall cabinets."""
    assets = folder / "kitchen/props/kitchen/assets"
    count = int(rng.integers(1, 5))
    surfaces: list[Surface] = []
    number = 0
    for k in range(count):
        at = np.array([0.6 * k, 0.0, 0.0])
        surfaces.append(_part("body", "cabinet", number, finishes["carcass"],
                              *_box(at + [-0.298, -0.55, 0.12], at + [0.298, -0.02, 0.82])))  # fmt: skip
        surfaces.append(_part("", "cabinet", number, finishes["carcass"],
                              *_box(at + [-0.3, -0.5, 0.0], at + [0.3, -0.02, 0.12])))  # fmt: skip
        kind = ("door", "door", "half", "quarter")[int(rng.integers(4))]
        if kind == "door":
            side = 1 if rng.random() < 0.5 else -1
            handle = at + [0.27 * side, -0.564, 0.674]
            surfaces.append(_panel("door", "cabinet", number, finishes, assets / "drawer_600_full.obj",
                                   at + [0, -0.564, 0.474]))  # fmt: skip
            surfaces.append(_handle("cabinet", number, finishes, assets, handle, True))
            number += 1
            continue
        number += 1
        heights = (0.2955, 0.6425) if kind == "half" else (0.2103, 0.3823, 0.5543, 0.7263)
        for z in heights:
            surfaces.append(_panel("front", "drawer", number, finishes,
                                   assets / f"drawer_600_{kind}.obj", at + [0, -0.561, z]))  # fmt: skip
            top = 0.14 if kind == "half" else 0.0
            surfaces.append(
                _handle("drawer", number, finishes, assets, at + [0, -0.561, z + top], False)
            )
            number += 1
    surfaces.append(_part("", "cabinet", 0, finishes["worktop"],
                          *_box((-0.3, -0.6, 0.821), (0.6 * count - 0.3, 0.0, 0.859))))  # fmt: skip
    if rng.random() < 0.4:
        surfaces += _wall_cabinets(assets, finishes, count, number)
    return surfaces


def _wall_cabinets(assets: Path, finishes: Finishes, count: int, number: int) -> list[Surface]:
    """Build cabinets with two doors each above the worktop."""
    surfaces = []
    for k in range(count):
        at = np.array([0.6 * k, 0.0, 1.466])
        low, high = at + [-0.298, -0.32, 0.0], at + [0.298, -0.02, 0.71]
        surfaces.append(_part("body", "cabinet", number + k, finishes["carcass"], *_box(low, high)))
        for side in (-1, 1):
            place = at + [0.147 * side, -0.332, 0.352]
            panel = assets / "hanging_drawer_600.obj"
            surfaces.append(_panel("door", "cabinet", number + k, finishes, panel, place))
            grip = at + [0.032 * side, -0.34, 0.092]
            surfaces.append(_handle("cabinet", number + k, finishes, assets, grip, True))
    return surfaces


def _panel(
    part: str, owner: str, number: int, finishes: Finishes, path: Path, at: np.ndarray
) -> Surface:
    """Build a door or a drawer front."""
    vertices, faces, _ = _piece(str(path))
    return _part(part, owner, number, finishes["front"], vertices @ _Z_UP.T + at, faces)


def _handle(
    owner: str, number: int, finishes: Finishes, assets: Path, at: np.ndarray, upright: bool
) -> Surface:
    """Build a bar handle, along a drawer or upright on a door."""
    vertices, faces, _ = _piece(str(assets / "drawer_handle.obj"))
    vertices = vertices @ _ACROSS.T
    if upright:
        vertices = vertices @ _ALONG.T
    return _part("handle", owner, number, finishes["metal"], vertices + at, faces)


def connected(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Number the connected pieces of a mesh; return the piece of each face, int64 [F]."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    _, welded = np.unique(np.round(vertices, 5), axis=0, return_inverse=True)
    welded = welded.reshape(-1)[faces]
    n = int(welded.max()) + 1
    rows, columns = welded[:, [0, 1]].ravel(), welded[:, [1, 2]].ravel()
    graph = coo_matrix((np.ones(len(rows)), (rows, columns)), shape=(n, n))
    return connected_components(graph, directed=False)[1][welded[:, 0]]


def _by_piece(
    vertices: np.ndarray, faces: np.ndarray, name: Callable[[np.ndarray], str]
) -> np.ndarray:
    """Name the part of each face, str [F]; ``name`` maps the points [N, 3] of a piece to a part."""
    pieces = connected(vertices, faces)
    found = np.empty(len(faces), dtype=object)
    for piece in np.unique(pieces):
        found[pieces == piece] = name(vertices[np.unique(faces[pieces == piece])])
    return found


def _split(
    path: Path, texture: str, owner: str, number: int, finishes: Finishes, textured: bool,
    turn: np.ndarray, name: Callable[[np.ndarray], str],
) -> list[Surface]:  # fmt: skip
    """Split a mesh into one surface per part."""
    vertices, faces, uv = _piece(str(path))
    vertices = vertices @ turn.T
    parts = _by_piece(vertices, faces, name)
    surfaces = []
    for part in sorted(set(parts)):
        chosen = parts == part
        kind = {"handle": "metal", "knob": "metal", "body": "carcass"}.get(part, "front")
        finish = finishes[kind]
        if textured:
            finish = Finish("plastic", (0.5, 0.5, 0.5), finish.seed, texture)
        corner_uv = uv[chosen] if textured and uv is not None else None
        surfaces.append(_part(part, owner, number, finish, vertices, faces[chosen], corner_uv))
    return surfaces


def _painted_cabinet(
    name: str,
) -> Callable[[Path, Finishes, np.random.Generator], list[Surface]]:
    """Return a builder of a painted Poly Haven cabinet, whose body, doors and drawers are meshes."""

    def build(folder: Path, finishes: Finishes, rng: np.random.Generator) -> list[Surface]:
        base = folder / "cabinets" / name
        texture = next(iter(sorted(str(p) for p in base.glob("*.jpg"))), "")
        textured = bool(texture) and rng.random() < 0.6

        def split(piece: str, owner: str, number: int, large: str, small: str) -> list[Surface]:
            return _split(
                base / f"{piece}.npz", texture, owner, number, finishes, textured, _Z_UP,
                lambda points: large if np.ptp(points, axis=0).max() > 0.25 else small,
            )  # fmt: skip

        surfaces = split(name, "cabinet", 0, "body", "body")
        knob = "handle" if name == "painted_wooden_cabinet" else "knob"
        for path in sorted(base.glob(f"{name}_*.npz")):
            if "door" in path.stem:
                surfaces += split(path.stem, "cabinet", 0, "door", "knob")
            elif "drawer" in path.stem:
                number = max(s.number for s in surfaces) + 1
                surfaces += split(path.stem, "drawer", number, "front", knob)
        return surfaces

    return build


def _wardrobe(folder: Path, finishes: Finishes, rng: np.random.Generator) -> list[Surface]:
    """Build a wardrobe with four doors and knobs."""

    def name(points: np.ndarray) -> str:
        if np.ptp(points, axis=0).max() < 0.06:
            return "knob"
        return "door" if points[:, 1].max() < -0.24 else "body"

    base = folder / "small_house/Wardrobe"
    textured = rng.random() < 0.4
    return _split(base / "textured.npz", str(base / "texture.jpg"), "cabinet", 0, finishes, textured,
                  np.eye(3), name)  # fmt: skip


def _fridge(folder: Path, finishes: Finishes, rng: np.random.Generator) -> list[Surface]:
    """Build a fridge with two doors and two long handles."""

    def name(points: np.ndarray) -> str:
        if points[:, 1].max() > -0.2:
            return "body"
        size = np.ptp(points, axis=0)
        return "handle" if size[2] > 0.8 and size[0] < 0.08 else "door"

    finishes = {
        **finishes,
        "front": random_finish(str(rng.choice(("steel", "paint", "enamel"))), rng, muted=True),
    }
    finishes["carcass"] = finishes["front"]
    base = folder / "small_house/Refrigerator"
    textured = rng.random() < 0.4
    return _split(base / "textured.npz", str(base / "texture.jpg"), "fridge", 0, finishes, textured,
                  np.eye(3), name)  # fmt: skip
