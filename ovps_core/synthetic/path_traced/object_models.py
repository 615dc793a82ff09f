"""Objects ready to be placed: named surfaces with a finish each, from parametric classes or scans."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass, field

import numpy as np

from ovps_core.synthetic.materials import draw_colour
from ovps_core.synthetic.object_class import ObjectClass, ShapeRng
from ovps_core.synthetic.path_traced.scans import Scan
from ovps_core.synthetic.settings import Split
from ovps_core.synthetic.stable_poses import StablePose, stable_poses

LARGE = 0.56
"""Metres: a class whose typical size is above this stands on the floor."""


@dataclass(frozen=True)
class Finish:
    """Material, colour and picture of a surface.

    Attributes:
        kind: a kind of ``materials.MATERIAL_KINDS``.
        colour: sRGB values in [0, 1].
        seed: decides roughness, grain and the like.
        texture: a picture that replaces the colour; "" for none.
        shift: hue (turns), saturation (factor), value (factor) applied to the picture.
        printed: a printed band or label is wrapped around it.
    """

    kind: str
    colour: tuple[float, float, float]
    seed: int
    texture: str = ""
    shift: tuple[float, float, float] = (0.0, 1.0, 1.0)
    printed: bool = False


@dataclass(frozen=True)
class Surface:
    """One mesh of an object, in its frame, whose triangles may belong to several parts.

    Attributes:
        parts: part names; "" is no part.
        finishes: one per part.
        vertices: float64 [V, 3] metres; faces: int64 [F, 3]; face_parts: int64 [F] into ``parts``.
        corner_uv: float32 [F, 3, 2] or None.
        crease: degrees between neighbouring triangles above which an edge shows.
        owner: the object it belongs to where that is not the whole model's, as a cabinet's drawer.
        number: which of the model's objects of that name.
    """

    parts: tuple[str, ...]
    finishes: tuple[Finish, ...]
    vertices: np.ndarray
    faces: np.ndarray
    face_parts: np.ndarray
    corner_uv: np.ndarray | None = None
    crease: float = 35.0
    owner: str = ""
    number: int = 0


@dataclass(frozen=True)
class ObjectModel:
    """An object of one scene, with the attributes of ``object_pool.PoolItem`` that a layout reads.

    Attributes:
        object_name: its class; "" for unlabelled clutter.
        source: "procedural" or the name of its scan.
        has_front: its front, towards -x, mostly faces the camera.
        surfaces: its meshes.
        stable_poses: poses in which it can stand on the ground.
    """

    object_name: str
    source: str
    has_front: bool
    surfaces: tuple[Surface, ...]
    stable_poses: tuple[StablePose, ...] = field(repr=False)

    def owners(self) -> list[tuple[str, int]]:
        """List its labelled objects as (name, number), in order; only furniture has several."""
        named = ((s.owner or self.object_name, s.number) for s in self.surfaces)
        return list(dict.fromkeys(owner for owner in named if owner[0]))


# Materials that parts of untextured or repainted scans may have; an object's "" is for all other parts.
_SCAN_MATERIALS: dict[tuple[str, str], tuple[str, ...]] = {
    ("hammer", "head"): ("steel", "iron", "rubber", "wood"),
    ("hammer", "handle"): ("wood", "rubber", "plastic"),
    ("scissors", "blade"): ("steel",),
    ("screwdriver", "shaft"): ("steel",),
    ("screwdriver", "tip"): ("steel",),
    ("pan", "body"): ("iron", "steel", "enamel"),
    ("pan", "handle"): ("plastic", "wood", "rubber", "steel"),
    ("spatula", "blade"): ("plastic", "rubber", "steel", "wood"),
    ("knife", "blade"): ("steel",),
    ("fork", "head"): ("steel",),
    ("spoon", "bowl"): ("steel", "ceramic", "wood", "plastic"),
    ("wrench", ""): ("steel", "zinc", "iron"),
    ("mug", ""): ("ceramic", "ceramic", "enamel", "plastic"),
    ("bowl", ""): ("ceramic", "enamel", "wood", "plastic", "steel"),
    ("jug", ""): ("plastic", "ceramic", "enamel"),
    ("bottle", "body"): ("plastic", "plastic", "ceramic"),
    ("jar", "body"): ("ceramic", "plastic"),
    ("jar", "lid"): ("steel", "plastic", "wood"),
}
# Parts of one piece with another part, whose finish they share.
_SAME_PIECE = {
    ("pan", "rim"): "body",
    ("mug", "rim"): "body",
    ("mug", "handle"): "body",
    ("bowl", "rim"): "body",
    ("bowl", "base"): "body",
    ("jug", "handle"): "body",
    ("jug", "spout"): "body",
    ("wrench", "jaw"): "handle",
    ("screwdriver", "tip"): "shaft",
    ("bottle", "neck"): "body",
}
_PRINTABLE = ("bottle", "jar", "mug", "soap dispenser", "marker", "vase", "jug", "")


def random_finish(
    kind: str, rng: np.random.Generator, printed: bool = False, muted: bool = False
) -> Finish:
    """Draw a plausible finish of a material kind; ``muted`` has the pale colours of furniture."""
    colour = draw_colour(kind, rng)[:3]
    if muted and kind not in ("wood", "steel", "brass", "zinc", "iron") and rng.random() < 0.75:
        hue, saturation, value = colorsys.rgb_to_hsv(*colour)
        colour = colorsys.hsv_to_rgb(hue, saturation * rng.uniform(0.05, 0.45), max(value, 0.3))
    return Finish(kind, colour, int(rng.integers(1 << 30)), printed=printed)


def build_procedural(kind: ObjectClass, split: Split, rng: np.random.Generator) -> ObjectModel:
    """Build a member of a parametric class; parts of one colour group and material share a finish."""
    parts = kind.build(ShapeRng(rng, split))
    looks: dict[tuple[str, str], Finish] = {}
    surfaces = []
    for part in parts:
        key = (part.colour_group, part.material)
        if key not in looks:
            plain = part.material in ("plastic", "ceramic", "enamel", "paint")
            printed = (
                plain
                and kind.name in _PRINTABLE
                and part.part in ("body", "")
                and rng.random() < 0.45
            )
            looks[key] = random_finish(part.material, rng, printed, kind.size > LARGE)
        vertices = np.asarray(part.mesh.vertices, np.float64)
        faces = np.asarray(part.mesh.faces, np.int64)
        owners = np.zeros(len(faces), np.int64)
        surfaces.append(Surface((part.part,), (looks[key],), vertices, faces, owners))
    points = np.vstack([s.vertices for s in surfaces])
    return ObjectModel(
        kind.name,
        "procedural",
        kind.has_front,
        tuple(surfaces),
        tuple(stable_poses(points, kind.poses, rng)),
    )


def build_scan(scan: Scan, rng: np.random.Generator) -> ObjectModel:
    """Build an object from a scan, scaled by 0.93 to 1.07, with shifted colours or repainted by part."""
    poses = _pose_names(scan, rng)
    vertices = scan.vertices * rng.uniform(0.93, 1.07)
    textured = scan.texture and (not scan.object_name or rng.random() < 0.8)
    finishes = _textured_finishes(scan, rng) if textured else _part_finishes(scan, rng)
    names = tuple(dict.fromkeys(["", *scan.parts]))
    position = np.array([0, *(names.index(p) for p in scan.parts)])
    surface = Surface(
        parts=names,
        finishes=tuple(finishes[name] for name in names),
        vertices=vertices,
        faces=scan.faces,
        face_parts=position[scan.face_parts],
        corner_uv=scan.corner_uv if textured else None,
        crease=60.0,
    )
    found = tuple(stable_poses(vertices, poses, rng))
    return ObjectModel(scan.object_name, scan.name, False, (surface,), found)


def _pose_names(scan: Scan, rng: np.random.Generator) -> tuple[str, ...]:
    """Draw the names of its stable poses: mostly settled; bottles, mugs and clutter also lie on a side."""
    if scan.object_name in ("bottle", "mug", "jar", "jug", "") and rng.random() < 0.3:
        return ("side",)
    if scan.object_name in ("bowl",) and rng.random() < 0.2:
        return ("upside_down",)
    return ("settled",)


def _textured_finishes(scan: Scan, rng: np.random.Generator) -> dict[str, Finish]:
    """Draw a finish that shows the scan's texture on every part, with shifted hue and brightness."""
    turned = rng.random() < 0.3
    shift = (
        float(rng.uniform(0, 1)) if turned else 0.0,
        float(rng.uniform(0.6, 1.2)) if turned else 1.0,
        float(rng.uniform(0.85, 1.35)),
    )
    finishes = {}
    seed = int(rng.integers(1 << 30))
    for part in ("", *scan.parts):
        metal = _SCAN_MATERIALS.get((scan.object_name, part)) == ("steel",)
        kind = "zinc" if metal and rng.random() < 0.5 else "plastic"
        finishes[part] = Finish(kind, (0.5, 0.5, 0.5), seed, scan.texture, shift)
    return finishes


def _part_finishes(scan: Scan, rng: np.random.Generator) -> dict[str, Finish]:
    """Draw a finish for each part from the materials that its class may have."""
    finishes: dict[str, Finish] = {}
    for part in scan.parts:
        options = _SCAN_MATERIALS.get(
            (scan.object_name, part),
            _SCAN_MATERIALS.get((scan.object_name, ""), ("plastic", "rubber", "paint")),
        )
        finishes[part] = random_finish(options[int(rng.integers(len(options)))], rng)
    for part in scan.parts:
        owner = _SAME_PIECE.get((scan.object_name, part), part)
        # Enamel mugs and bowls may have a rim of another colour.
        if owner in finishes and not (part == "rim" and rng.random() < 0.25):
            finishes[part] = finishes[owner]
    return {"": next(iter(finishes.values())), **finishes}


def classes_for(large: bool) -> list[ObjectClass]:
    """List the classes that stand on the floor (``large``) or on a table."""
    from ovps_core.synthetic.catalogue import OBJECT_CLASSES

    return [c for c in OBJECT_CLASSES.values() if (c.size > LARGE) == large]
