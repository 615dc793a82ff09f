"""Unlabelled clutter: boxes, books, balls and cloths, which no query names."""

from __future__ import annotations

import numpy as np

from ovps_core.synthetic.meshes import arc, box, place, revolve, slab
from ovps_core.synthetic.object_class import ObjectClass, PartMesh, ShapeRng

CLUTTER = ""
"""Object name of unlabelled items."""


def _carton(rng: ShapeRng) -> list[PartMesh]:
    size = [rng.uniform(0.03, 0.14) for _ in range(3)]
    return [
        PartMesh(
            "", place(box(size), (0, 0, size[2] / 2)), rng.choice(("paint", "wood", "plastic"))
        )
    ]


def _book(rng: ShapeRng) -> list[PartMesh]:
    w, d, h = rng.uniform(0.1, 0.16), rng.uniform(0.14, 0.22), rng.uniform(0.01, 0.03)
    pages = box((w - 0.006, d - 0.008, h - 0.004), (0.003, 0, h / 2))
    covers = [box((w, d, 0.002), (0, 0, z)) for z in (0.001, h - 0.001)]
    spine = box((0.002, d, h), (-w / 2, 0, h / 2))
    return [
        PartMesh("", pages, "cloth", "b"),
        *(PartMesh("", piece, "paint", "a") for piece in (*covers, spine)),
    ]


def _ball(rng: ShapeRng) -> list[PartMesh]:
    radius = rng.uniform(0.018, 0.045)
    squash = rng.uniform(0.75, 1.1)
    profile = arc((0, 0), radius, -90, 90, 14) * [1, squash]
    profile[[0, -1], 0] = 0.0
    return [
        PartMesh(
            "",
            place(revolve(profile), (0, 0, radius * squash)),
            rng.choice(("plastic", "rubber", "paint")),
        )
    ]


def _cloth(rng: ShapeRng) -> list[PartMesh]:
    w, d = rng.uniform(0.12, 0.3), rng.uniform(0.1, 0.25)
    x = np.linspace(-w / 2, w / 2, 8)
    return [PartMesh("", slab(x, -d / 2 + 0 * x, d / 2 + 0 * x, 0.003, 0.0015), "cloth")]


def classes() -> list[ObjectClass]:
    """List the unlabelled classes; their object and part names are empty."""
    return [
        ObjectClass(CLUTTER, build, ("",), "tabletop", 0.2)
        for build in (_carton, _book, _ball, _cloth)
    ]
