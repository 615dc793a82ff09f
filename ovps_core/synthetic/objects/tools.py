"""Parametric tools of the tabletop level, and a drawer: hammer, screwdriver, marker, drawer."""

from __future__ import annotations

import numpy as np

from ovps_core.synthetic.meshes import box, cut, join, place, revolve, slab, spline, sweep
from ovps_core.synthetic.object_class import ObjectClass, PartMesh, ShapeRng
from ovps_core.synthetic.objects.cutlery import GRIP_MATERIALS, grip, stick
from ovps_core.synthetic.settings import Level


def hammer(rng: ShapeRng) -> list[PartMesh]:
    """Build a claw hammer, ball-peen hammer or mallet; the latent is the length of its head.

    It lies on its side, the head along y.
    """
    length = rng.uniform(0.2, 0.27)
    width = rng.uniform(0.024, 0.032)
    handle = grip(rng, length, width, width * rng.uniform(0.7, 0.95), x0=0.0)
    reach = rng.latent(0.09, 0.15)
    kind = rng.choice(("claw", "claw", "peen", "mallet"))
    radius = rng.uniform(0.012, 0.016)
    if kind == "mallet":
        radius = rng.uniform(0.024, 0.034)
        y = reach * np.array([-0.5, 0, 0.5])
        head = sweep(np.stack([0 * y, y, 0 * y], -1), radius, sections=20)
        material = rng.choice(("rubber", "wood", "plastic"))
        return [
            PartMesh("handle", handle, rng.choice(GRIP_MATERIALS), "b"),
            PartMesh("head", head, material),
        ]
    y = reach * np.array([0, 0.22, 0.28, 0.42, 0.45])
    face = sweep(
        np.stack([0 * y, y, 0 * y], -1),
        [radius * 0.95, radius * 0.8, radius * 0.8, radius * 1.15, radius * 1.05], sections=16,
    )  # fmt: skip
    pieces = [box((radius * 2.3, radius * 2.4, radius * 2.1), (0, 0, 0)), face]
    if kind == "peen":
        y = -reach * 0.4 * np.array([0.0, 0.4, 0.7, 0.9, 1.0])
        pieces.append(
            sweep(
                np.stack([0 * y, y, 0 * y], -1),
                radius * np.array([0.95, 0.75, 0.9, 0.7, 0.2]),
                sections=16,
            )
        )
    else:
        for sign in (1, -1):
            curve = spline(
                [(0, 0), (0.004, -reach * 0.2), (0.016, -reach * 0.4), (0.034, -reach * 0.55)], 10
            )
            offset = sign * np.linspace(0.35, 0.75, 10) * radius
            path = np.stack([curve[:, 0], curve[:, 1], offset], -1)
            radii = np.stack(
                [
                    np.linspace(radius * 0.55, radius * 0.38, 10),
                    np.linspace(radius * 0.85, 0.003, 10),
                ],
                -1,
            )
            pieces.append(sweep(path, radii[:, ::-1], sections=10))
    return [
        PartMesh("handle", handle, rng.choice(GRIP_MATERIALS), "b"),
        PartMesh("head", join(*pieces), rng.choice(("steel", "iron"))),
    ]


def screwdriver(rng: ShapeRng) -> list[PartMesh]:
    """Build a flat or cross-head screwdriver; the latent is the length of its shaft."""
    shaft_length = rng.latent(0.055, 0.15)
    radius = rng.uniform(0.0048, 0.0068)
    handle_length = rng.uniform(0.08, 0.11)
    thick = rng.uniform(0.026, 0.034)
    x = np.array([0, 0.06, 0.16, 0.3, 0.6, 0.85, 0.97, 1.0]) * handle_length
    r = np.array([0.55, 0.75, 0.62, 0.95, 1.0, 0.92, 0.7, 0.3]) * thick / 2
    handle = sweep(np.stack([x, 0 * x, 0 * x], -1), r, sections=rng.choice((6, 8, 16)))
    shaft = stick(shaft_length + 0.002, radius, -shaft_length)
    tip_length = rng.uniform(0.024, 0.036)
    s = np.linspace(0, 1, 6)
    if rng.chance(0.5):
        half = radius * (1.0 + 0.9 * np.sin(np.pi * np.clip(s * 1.1, 0, 1)) ** 0.8)
        tip = slab(-shaft_length - tip_length * s + 0.001, -half, half, radius * 2 * (1 - 0.8 * s))
    else:
        path = np.stack([-shaft_length - tip_length * s + 0.001, 0 * s, 0 * s], -1)
        tip = sweep(path, radius * np.array([1.0, 1.35, 1.35, 1.1, 0.6, 0.15]), sections=8)
    tip_kind = rng.choice(("iron", "iron", "steel"))
    return [
        PartMesh("handle", handle, rng.choice(("plastic", "plastic", "rubber", "wood")), "b"),
        PartMesh("shaft", shaft, "steel"),
        PartMesh("tip", tip, tip_kind, "c"),
    ]


def marker(rng: ShapeRng) -> list[PartMesh]:
    """Build a felt pen, closed, or open with its cap on the tail; the latent is its length."""
    length = rng.latent(0.09, 0.13)
    radius = rng.uniform(0.0095, 0.0145)
    body = stick(length, radius, 0.0)
    cap_length = length * rng.uniform(0.3, 0.42)
    if rng.chance(0.3):
        cap = stick(cap_length, radius * 1.12, -cap_length + 0.012)
        return [PartMesh("body", body, "plastic"), PartMesh("cap", cap, "plastic", "b")]
    cap = stick(cap_length, radius * 1.12, length - 0.012)
    x = -np.array([-0.002, 0.008, 0.02, 0.027, 0.036])
    tip = sweep(np.stack([x, 0 * x, 0 * x], -1), radius * np.array([0.9, 0.85, 0.6, 0.5, 0.3]))
    return [
        PartMesh("body", body, "plastic"),
        PartMesh("cap", cap, "plastic", "b"),
        PartMesh("tip", tip, "plastic", "b"),
    ]


def drawer(rng: ShapeRng) -> list[PartMesh]:
    """Build a chest with one drawer, shut or open; the latent is its height.

    Its front, towards -x, has a knob or a bar handle.
    """
    width, depth = rng.uniform(0.16, 0.22), rng.uniform(0.12, 0.16)
    height = width * rng.latent(0.42, 0.85)
    wall, pull = 0.008, rng.choice((0.0, rng.uniform(0.01, 0.05)))
    shell = box((depth, width, height), (0, 0, height / 2))
    hollow = box((depth, width - 2 * wall, height - 2 * wall), (-wall, 0, height / 2))
    tray = cut(
        box((depth - 0.02, width - 2.6 * wall, height * 0.6), (0.0, 0, height * 0.4)),
        box((depth - 0.03, width - 4 * wall, height * 0.6), (0.0, 0, height * 0.4 + wall)),
    )
    place(tray, (-pull, 0, 0))
    thick = 0.01
    front = box(
        (thick, width - 1.2 * wall, height - 1.2 * wall), (-depth / 2 - pull - 0.002, 0, height / 2)
    )
    face = -depth / 2 - pull - 0.002 - thick / 2
    wood = rng.choice(("wood", "wood", "paint"))
    parts = [
        PartMesh("body", join(cut(shell, hollow), tray), wood),
        PartMesh("front", front, wood, rng.choice(("a", "b"))),
    ]
    if rng.chance(0.5):
        size = rng.uniform(0.012, 0.018)
        profile = [
            (0, 0),
            (size * 0.55, 0),
            (size * 0.5, size * 0.7),
            (size, size),
            (size, size * 1.4),
            (size * 0.6, size * 1.75),
            (0, size * 1.8),
        ]
        knob = place(revolve(profile, sections=24), (face + 0.001, 0, height / 2), (0, 1, 0), -90)
        parts.append(PartMesh("knob", knob, rng.choice(("brass", "steel", "wood", "ceramic")), "c"))
        return parts
    half, out = width * rng.uniform(0.18, 0.28), rng.uniform(0.02, 0.028)
    curve = spline(
        [
            (face + 0.001, -half),
            (face - out, -half * 0.9),
            (face - out, half * 0.9),
            (face + 0.001, half),
        ],
        22,
    )
    path = np.stack([curve[:, 0], curve[:, 1], np.full(22, height / 2)], -1)
    handle = sweep(path, rng.uniform(0.005, 0.0075), sections=10)
    parts.append(PartMesh("handle", handle, rng.choice(("brass", "steel", "iron")), "c"))
    return parts


def classes() -> list[ObjectClass]:
    """List the tools of the tabletop level, and the drawer."""
    flat: tuple[str, ...] = ("settled",)
    level: Level = "tabletop"
    return [
        ObjectClass("hammer", hammer, ("handle", "head"), level, 0.3, flat),
        ObjectClass("screwdriver", screwdriver, ("handle", "shaft", "tip"), level, 0.22, flat),
        ObjectClass("marker", marker, ("body", "cap", "tip"), level, 0.15, flat),
        ObjectClass(
            "drawer",
            drawer,
            ("body", "front", "knob", "handle"),
            level,
            0.2,
            ("as_built",),
            has_front=True,
        ),
    ]
