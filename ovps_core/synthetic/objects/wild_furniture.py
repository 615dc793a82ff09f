"""Parametric furniture and fittings of the wild level: chair, stool, table, lamp, laptop, faucet."""

from __future__ import annotations

import numpy as np
import trimesh

from ovps_core.synthetic.meshes import box, join, place, revolve, spline, sweep
from ovps_core.synthetic.object_class import ObjectClass, PartMesh, ShapeRng
from ovps_core.synthetic.settings import Level


def _legs(
    rng: ShapeRng, width: float, depth: float, height: float, thick: float
) -> trimesh.Trimesh:
    splay, taper = rng.uniform(0.0, 0.12), rng.uniform(0.6, 1.0)
    square = rng.choice((0.0, 0.9))
    legs = []
    for sx in (-1, 1):
        for sy in (-1, 1):
            top = np.array([sx * (width / 2 - thick), sy * (depth / 2 - thick), height])
            foot = top * [1 + splay, 1 + splay, 0]
            path = np.stack([foot, (top + foot) / 2, top])
            legs.append(
                sweep(path, thick * np.array([taper, 0.95, 1.0]), up=(1, 0, 0), square=square)
            )
    return join(*legs)


def chair(rng: ShapeRng) -> list[PartMesh]:
    """Build a chair; the latent is the height of its back."""
    width, depth = rng.uniform(0.38, 0.46), rng.uniform(0.38, 0.45)
    seat_z, back_h = rng.uniform(0.42, 0.47), rng.latent(0.3, 0.6)
    thick = rng.uniform(0.016, 0.026)
    seat = box((depth, width, rng.uniform(0.025, 0.07)), (0, 0, seat_z), rng.uniform(0.0, 0.08))
    legs = _legs(rng, depth, width, seat_z, thick)
    x = depth / 2 - thick
    posts = [
        box((thick * 1.6, thick * 1.6, back_h), (x, s * (width / 2 - thick), seat_z + back_h / 2))
        for s in (1, -1)
    ]
    if rng.chance(0.5):
        panel = [box((0.02, width - 2 * thick, back_h * 0.55), (x, 0, seat_z + back_h * 0.68))]
    else:
        panel = [
            box((0.018, width - thick, 0.06), (x, 0, seat_z + back_h * f))
            for f in (0.35, 0.65, 0.93)
        ]
    kind = rng.choice(("wood", "wood", "paint", "plastic"))
    seat_kind = rng.choice((kind, kind, "cloth"))
    return [
        PartMesh("seat", seat, seat_kind, "a" if seat_kind == kind else "b"),
        PartMesh("back", join(*posts, *panel), kind),
        PartMesh("leg", legs, rng.choice((kind, kind, "steel")), "a"),
    ]


def stool(rng: ShapeRng) -> list[PartMesh]:
    """Build a round stool; the latent is its height."""
    radius, height = rng.uniform(0.15, 0.19), rng.latent(0.4, 0.78)
    thick = rng.uniform(0.03, 0.06)
    seat = revolve(
        [
            (0, height),
            (radius, height),
            (radius * 1.03, height + thick / 2),
            (radius * 0.97, height + thick),
            (0, height + thick),
        ]
    )
    legs = _legs(rng, radius * 1.5, radius * 1.5, height + 0.005, rng.uniform(0.014, 0.02))
    kind = rng.choice(("wood", "paint", "plastic"))
    leg_kind = rng.choice((kind, "steel"))
    return [
        PartMesh("seat", seat, rng.choice((kind, "cloth")), "a"),
        PartMesh("leg", legs, leg_kind, "b"),
    ]


def table(rng: ShapeRng) -> list[PartMesh]:
    """Build a rectangular or round table; the latent is its height."""
    width, depth, height = rng.uniform(0.8, 1.3), rng.uniform(0.55, 0.8), rng.latent(0.4, 0.85)
    thick = rng.uniform(0.02, 0.05)
    if rng.chance(0.7):
        top = box((width, depth, thick), (0, 0, height + thick / 2), rng.uniform(0, 0.08))
    else:
        r = depth / 2
        width = depth
        top = revolve(
            [(0, height), (r, height), (r, height + thick), (0, height + thick)], sections=48
        )
    kind = rng.choice(("wood", "wood", "paint", "glass"))
    legs = _legs(rng, width * 0.94, depth * 0.9, height + 0.002, rng.uniform(0.022, 0.035))
    leg_kind = "steel" if kind == "glass" else rng.choice((kind, "steel"))
    return [
        PartMesh("top", top, kind),
        PartMesh("leg", legs, leg_kind, "a" if leg_kind == kind else "b"),
    ]


def lamp(rng: ShapeRng) -> list[PartMesh]:
    """Build a table lamp; the latent is the lower radius of its shade."""
    height, base_r = rng.uniform(0.25, 0.36), rng.uniform(0.06, 0.085)
    base = revolve(
        [(0, 0), (base_r, 0), (base_r, 0.012), (base_r * 0.6, 0.025), (0.014, 0.035), (0, 0.035)]
    )
    shaft = revolve(
        [
            (0, 0.03),
            (0.012, 0.03),
            (rng.uniform(0.007, 0.03), height * 0.4),
            (0.009, height),
            (0, height),
        ],
        sections=20,
    )
    low, high = rng.latent(0.08, 0.15), rng.uniform(0.05, 0.085)
    tall = rng.uniform(0.12, 0.18)
    shade = revolve(
        [
            (low, height - 0.05),
            (high, height - 0.05 + tall),
            (high - 0.003, height - 0.05 + tall),
            (low - 0.003, height - 0.05),
        ],
        closed=True,
    )
    spokes = [
        place(
            box((2 * (low + high) / 2 - 0.006, 0.004, 0.004), (0, 0, 0)),
            (0, 0, height - 0.06 + tall / 2),
            (0, 0, 1),
            d,
        )
        for d in (0, 90)
    ]
    kind = rng.choice(("ceramic", "brass", "wood", "steel"))
    return [
        PartMesh("base", base, kind),
        PartMesh("shaft", shaft, kind),
        PartMesh("shade", join(shade, *spokes), rng.choice(("cloth", "paint", "plastic")), "b"),
    ]


def laptop(rng: ShapeRng) -> list[PartMesh]:
    """Build an open laptop; the latent is the opening angle."""
    width, depth = rng.uniform(0.29, 0.37), rng.uniform(0.2, 0.25)
    angle = rng.latent(85, 130)
    base = box((depth, width, 0.014), (0, 0, 0.007), 0.008)
    keys = [
        box(
            (depth * 0.08, width * 0.054, 0.003),
            (-depth * 0.02 + i * depth * 0.1, (j - 6.5) * width * 0.062, 0.0152),
        )
        for i in range(4)
        for j in range(14)
    ]
    lid = box((depth, width, 0.007), (-depth / 2, 0, 0))
    panel = box((depth * 0.88, width * 0.94, 0.002), (-depth / 2, 0, -0.0036))
    for piece in (lid, panel):
        place(piece, (0, 0, 0), (0, 1, 0), angle)
        place(piece, (depth / 2, 0, 0.012))
    kind = rng.choice(("steel", "plastic", "iron"))
    return [
        PartMesh("screen", join(lid, panel), kind),
        PartMesh("keyboard", join(*keys), "plastic", "b"),
        PartMesh("base", base, kind),
    ]


def faucet(rng: ShapeRng) -> list[PartMesh]:
    """Build a faucet with one or two levers; the latent is its height."""
    height, reach = rng.latent(0.13, 0.27), rng.uniform(0.12, 0.18)
    base = revolve([(0, 0), (0.032, 0), (0.032, 0.01), (0.022, 0.02), (0.02, 0.06), (0, 0.06)])
    curve = spline(
        [
            (0, 0.05),
            (0, height * 0.8),
            (-reach * 0.35, height * 1.1),
            (-reach * 0.9, height * 0.95),
            (-reach, height * 0.7),
        ],
        26,
    )
    spout = sweep(
        np.stack([curve[:, 0], np.zeros(26), curve[:, 1]], -1),
        rng.uniform(0.011, 0.014),
        up=(0, 1, 0),
    )
    handles = []
    for sign in (1, -1) if rng.chance(0.5) else (1,):
        stem = sweep(
            [[0, sign * 0.01, 0.045], [0, sign * 0.04, 0.05], [0, sign * 0.05, 0.055]], 0.011
        )
        lever = sweep(
            [[0, sign * 0.045, 0.05], [0, sign * 0.075, 0.07], [0, sign * 0.115, 0.08]],
            [0.009, 0.008, 0.01],
            up=(1, 0, 0),
        )
        handles += [stem, lever]
    kind = rng.choice(("steel", "steel", "brass", "iron"))
    return [
        PartMesh("base", base, kind),
        PartMesh("spout", spout, kind),
        PartMesh("handle", join(*handles), kind),
    ]


def classes() -> list[ObjectClass]:
    """List the furniture and fittings of the wild level."""
    up: tuple[str, ...] = ("as_built",)
    level: Level = "wild"
    return [
        ObjectClass("chair", chair, ("seat", "back", "leg"), level, 0.95, up, has_front=True),
        ObjectClass("stool", stool, ("seat", "leg"), level, 0.7, up),
        ObjectClass("table", table, ("top", "leg"), level, 1.2, up),
        ObjectClass("lamp", lamp, ("base", "shaft", "shade"), level, 0.45, up),
        ObjectClass(
            "laptop", laptop, ("screen", "keyboard", "base"), level, 0.35, up, has_front=True
        ),
        ObjectClass("faucet", faucet, ("base", "spout", "handle"), level, 0.3, up),
    ]
