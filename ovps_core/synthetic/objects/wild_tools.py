"""Parametric hand tools of the wild level: wrench, pliers, drill, whisk, axe, saw, broom."""

from __future__ import annotations

import numpy as np
import trimesh

from ovps_core.synthetic.meshes import box, cut, join, place, ring, slab, spline, sweep
from ovps_core.synthetic.object_class import ObjectClass, PartMesh, ShapeRng
from ovps_core.synthetic.objects.cutlery import GRIP_MATERIALS, grip, stick
from ovps_core.synthetic.settings import Level


def wrench(rng: ShapeRng) -> list[PartMesh]:
    """Build a wrench with an open jaw and a second jaw or a ring; the latent is its length."""
    length, half = rng.latent(0.09, 0.2), rng.uniform(0.007, 0.010)
    thick = rng.uniform(0.006, 0.009)
    x = np.linspace(0, length, 8)
    waist = half * (0.8 + 0.3 * np.abs(np.linspace(-1, 1, 8)))
    handle = slab(x, -waist, waist, thick)
    jaws = [_open_jaw(rng, half * rng.uniform(2.0, 2.7), thick * 1.25)]
    if rng.chance(0.5):
        eye = ring(half * 1.6, 0, half * 0.7, thick * 0.65, sections=24)
        jaws.append(place(eye, (length + half * 1.4, 0, 0)))
    else:
        other = _open_jaw(rng, half * rng.uniform(1.7, 2.2), thick * 1.25)
        jaws.append(place(other, (length, 0, 0), (0, 0, 1), 180))
    return [PartMesh("handle", handle, "steel"), PartMesh("jaw", join(*jaws), "steel")]


def _open_jaw(rng: ShapeRng, radius: float, thick: float) -> trimesh.Trimesh:
    """Build a slotted round plate towards -x, turned by a small angle as on real wrenches."""
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    disc = slab(
        -radius + radius * np.cos(angle[:13]), -radius * np.sin(angle[:13]) * 0.95 - 1e-4,
        radius * np.sin(angle[:13]) * 0.95 + 1e-4, thick, edge=0.15,
    )  # fmt: skip
    slot = box((radius * 1.5, radius * 0.85, thick * 3), (-radius * 1.75, 0, 0))
    return place(cut(disc, slot), (radius * 0.25, 0, 0), (0, 0, 1), rng.uniform(-18, 18))


def pliers(rng: ShapeRng) -> list[PartMesh]:
    """Build a pair of pliers, open by a random angle; the latent is the jaws' length."""
    opening, reach = rng.uniform(8, 24), rng.uniform(0.1, 0.13)
    jaw_length = rng.latent(0.035, 0.075)
    handles, jaws = [], []
    s = np.linspace(0, 1, 8)
    for sign in (1.0, -1.0):
        curve = spline(
            [
                (0.004, 0),
                (0.03, -sign * 0.016),
                (reach * 0.6, -sign * 0.024),
                (reach, -sign * 0.018),
            ],
            14,
        )
        path = np.stack([curve[:, 0], curve[:, 1], np.full(14, 0.0)], -1)
        arm = sweep(path, np.linspace(0.0055, 0.0075, 14), sections=10)
        low, high = (0 * s, 0.014 - 0.011 * s) if sign > 0 else (-0.014 + 0.011 * s, 0 * s)
        jaw = slab(0.01 - jaw_length * s, low, high, 0.011 - 0.005 * s)
        for piece in (arm, jaw):
            place(piece, (0, 0, 0), (0, 0, 1), sign * opening / 2)
        handles.append(arm)
        jaws.append(jaw)
    pivot = place(box((0.024, 0.024, 0.012), bevel=0.007), (0, 0, 0))
    grip_kind = rng.choice(("rubber", "plastic", "plastic"))
    return [
        PartMesh("handle", join(*handles), grip_kind, "b"),
        PartMesh("jaw", join(*jaws, pivot), rng.choice(("steel", "iron"))),
    ]


def drill(rng: ShapeRng) -> list[PartMesh]:
    """Build a cordless drill that stands on its battery; the latent is its length."""
    length, radius = rng.latent(0.13, 0.21), rng.uniform(0.028, 0.036)
    z = rng.uniform(0.16, 0.19)
    barrel = sweep(
        np.stack([np.linspace(0.05, 0.05 - length, 6), np.zeros(6), np.full(6, z)], -1),
        radius * np.array([0.75, 1.0, 1.0, 0.95, 0.7, 0.55]), sections=16, square=0.25,
    )  # fmt: skip
    foot = box((0.11, 0.07, 0.045), (0.01, 0, 0.0225), 0.01)
    column = spline([(0.0, 0.04), (0.012, 0.09), (0.008, z - radius * 0.5)], 10)
    path = np.stack([column[:, 0], np.zeros(10), column[:, 1]], -1)
    handle = sweep(
        path, np.stack([np.full(10, 0.022), np.full(10, 0.017)], -1), up=(0, 1, 0), square=0.4
    )
    trigger = box((0.02, 0.014, 0.034), (-0.022, 0, z - radius - 0.022), 0.004)
    nose = 0.05 - length
    chuck = sweep(
        [[nose + 0.004, 0, z], [nose - 0.02, 0, z], [nose - 0.034, 0, z]], [0.017, 0.015, 0.008]
    )
    bit = stick(rng.uniform(0.05, 0.09), 0.0042, nose - 0.03 - 0.09, z)
    place(bit, (0.09 - np.ptp(bit.vertices[:, 0]), 0, 0))
    return [
        PartMesh("handle", handle, rng.choice(("plastic", "rubber")), "b"),
        PartMesh("body", join(barrel, foot), "plastic"),
        PartMesh("trigger", trigger, "plastic", "c"),
        PartMesh("bit", join(chuck, bit), rng.choice(("iron", "steel")), "d"),
    ]


def whisk(rng: ShapeRng) -> list[PartMesh]:
    """Build a whisk of three to five wire loops; the latent is the width of its head."""
    length, width = rng.uniform(0.11, 0.15), rng.latent(0.045, 0.085)
    loops = []
    for k in range(rng.choice((3, 4, 5))):
        side = spline([(0, 0.006), (0.35, width * 0.32), (0.75, width / 2), (1.0, 0.0)], 14)
        x = np.concatenate([side[:, 0], side[-2::-1, 0]]) * -length
        y = np.concatenate([side[:, 1], -side[-2::-1, 1]])
        loop = sweep(np.stack([x, y, 0 * x], -1), 0.0019, sections=6)
        loops.append(place(loop, (0, 0, 0), (1, 0, 0), 180.0 * k / 4 + 8))
    handle = grip(rng, rng.uniform(0.1, 0.14), 0.024, 0.022, x0=-0.004)
    return [
        PartMesh("handle", handle, rng.choice(("steel", *GRIP_MATERIALS)), "b"),
        PartMesh("head", join(*loops), rng.choice(("steel", "plastic"))),
    ]


def toothbrush(rng: ShapeRng) -> list[PartMesh]:
    """Build a toothbrush; the latent is the length of its head."""
    handle = grip(rng, rng.uniform(0.11, 0.14), 0.014, 0.010, x0=-0.002)
    neck = sweep([[0.002, 0, 0], [-0.015, 0, 0], [-0.03, 0, 0]], [0.0058, 0.004, 0.004])
    length = rng.latent(0.024, 0.042)
    head = place(box((length, 0.013, 0.006), bevel=0.004), (-0.028 - length / 2, 0, 0))
    hair = box((length * 0.88, 0.011, rng.uniform(0.011, 0.015)), (-0.028 - length / 2, 0, 0.008))
    return [
        PartMesh("handle", join(handle, neck), "plastic", "b"),
        PartMesh("head", head, "plastic", "b" if rng.chance(0.5) else "a"),
        PartMesh("bristles", hair, "bristle", "c"),
    ]


def axe(rng: ShapeRng) -> list[PartMesh]:
    """Build an axe; the latent is the width of its cutting edge."""
    length = rng.uniform(0.28, 0.5)
    handle = grip(rng, length, rng.uniform(0.028, 0.036), 0.02, x0=-0.045)
    reach, flare = rng.uniform(0.085, 0.12), rng.latent(0.05, 0.11)
    s = np.linspace(0, 1, 9)
    half = 0.022 + (flare / 2 - 0.022) * s**1.8
    blade = slab(0.022 - (reach + 0.022) * s, -half, half, 0.03 * (1 - 0.93 * s), edge=0.1)
    place(blade, (0, 0, 0), (0, 0, 1), 90)
    return [
        PartMesh("handle", handle, rng.choice(("wood", "wood", "plastic", "rubber")), "b"),
        PartMesh("head", blade, rng.choice(("steel", "iron", "paint"))),
    ]


def saw(rng: ShapeRng) -> list[PartMesh]:
    """Build a hand saw with a closed handle; the latent is the height of its blade."""
    length, height = rng.uniform(0.3, 0.45), rng.latent(0.07, 0.13)
    s = np.linspace(0, 1, 60)
    teeth = 0.004 * (np.arange(60) % 2)
    blade = slab(-length * s, -height / 2 + teeth, height / 2 - height * 0.55 * s, 0.003, edge=0.02)
    grip_box = box((0.11, height * 1.15, 0.022), (0.045, 0, 0), 0.03)
    hole = sweep(
        [[0.045, 0, -0.05], [0.045, 0, 0], [0.045, 0, 0.05]],
        [[0.018, height * 0.3]] * 3,
        up=(1, 0, 0),
        sections=18,
    )
    return [
        PartMesh("handle", cut(grip_box, hole), rng.choice(("wood", "plastic")), "b"),
        PartMesh("blade", blade, "steel"),
    ]


def flashlight(rng: ShapeRng) -> list[PartMesh]:
    """Build a flashlight; the latent is the length of its body."""
    length, radius = rng.latent(0.08, 0.17), rng.uniform(0.013, 0.019)
    body = stick(length, radius, 0.0)
    head = sweep(
        [[0.004, 0, 0], [-0.012, 0, 0], [-0.03, 0, 0], [-0.05, 0, 0]],
        radius * np.array([1.0, 1.2, 1.7, 1.75]), sections=20,
    )  # fmt: skip
    button = place(box((0.02, 0.011, 0.006), bevel=0.004), (length * 0.25, 0, radius + 0.0015))
    kind = rng.choice(("plastic", "iron", "steel", "rubber"))
    return [
        PartMesh("body", body, kind),
        PartMesh("head", head, kind, "a" if rng.chance(0.6) else "b"),
        PartMesh("button", button, "rubber", "c"),
    ]


def trowel(rng: ShapeRng) -> list[PartMesh]:
    """Build a garden trowel; the latent is the length of its blade."""
    length, width = rng.latent(0.1, 0.18), rng.uniform(0.07, 0.095)
    s = np.linspace(0, 1, 12)
    half = width / 2 * np.sin(np.clip(s * 3.2, 0.12, 1) * np.pi / 2) * (1 - 0.92 * s**2.5)
    blade = slab(-0.035 - length * s, -half, half, 0.003)
    shaft = sweep([[0.002, 0, 0.03], [-0.02, 0, 0.02], [-0.04, 0, 0.001], [-0.06, 0, 0.001]], 0.005)
    handle = place(grip(rng, 0.12, 0.028, 0.026), (0, 0, 0.03))
    return [
        PartMesh("handle", handle, rng.choice(GRIP_MATERIALS), "b"),
        PartMesh("shaft", shaft, "steel"),
        PartMesh("blade", blade, "steel"),
    ]


def broom(rng: ShapeRng) -> list[PartMesh]:
    """Build a broom; the latent is the width of its head."""
    handle = stick(rng.uniform(0.9, 1.2), rng.uniform(0.011, 0.014), 0.0, 0.02)
    width = rng.latent(0.2, 0.4)
    head = place(box((0.05, width, 0.036), bevel=0.012), (-0.02, 0, 0.02))
    s = np.linspace(0, 1, 5)
    flare = width / 2 * (0.96 + 0.14 * s)
    hair = slab(
        -0.04 - rng.uniform(0.08, 0.14) * s, -flare, flare, 0.03 - 0.008 * s, 0.02, edge=0.05
    )
    return [
        PartMesh("handle", handle, rng.choice(("wood", "plastic", "steel")), "b"),
        PartMesh("head", head, rng.choice(("wood", "plastic"))),
        PartMesh("bristles", hair, "bristle", "c"),
    ]


def shovel(rng: ShapeRng) -> list[PartMesh]:
    """Build a shovel with a D-shaped grip; the latent is the length of its blade."""
    shaft_length = rng.uniform(0.6, 0.85)
    shaft = stick(shaft_length, rng.uniform(0.014, 0.018), 0.0, 0.03)
    length, width = rng.latent(0.24, 0.36), rng.uniform(0.19, 0.25)
    s = np.linspace(0, 1, 12)
    half = width / 2 * np.clip(s * 6, 0.15, 1) * (1 - 0.85 * s**5)
    blade = slab(0.02 - length * s, -half, half, 0.005, 0.03 * (1 - s) ** 2)
    x = shaft_length
    bar = sweep([[x + 0.075, -0.06, 0.03], [x + 0.08, 0, 0.03], [x + 0.075, 0.06, 0.03]], 0.015)
    arms = [
        sweep(
            [[x - 0.01, 0, 0.03], [x + 0.03, sign * 0.03, 0.03], [x + 0.075, sign * 0.055, 0.03]],
            0.01,
        )
        for sign in (1, -1)
    ]
    return [
        PartMesh("handle", join(bar, *arms), rng.choice(("plastic", "wood")), "b"),
        PartMesh("shaft", shaft, rng.choice(("wood", "wood", "paint")), "c"),
        PartMesh("blade", blade, rng.choice(("steel", "iron", "paint"))),
    ]


def dustpan(rng: ShapeRng) -> list[PartMesh]:
    """Build a dustpan; the latent is its width."""
    width, depth, wall = rng.latent(0.18, 0.3), rng.uniform(0.16, 0.22), 0.006
    height = rng.uniform(0.05, 0.08)
    floor = box((depth, width, wall), (-depth / 2, 0, wall / 2))
    back = box((wall, width, height), (-wall / 2, 0, height / 2))
    s = np.linspace(0, 1, 5)
    sides = [
        place(
            slab(-depth * s, 0 * s, height * (1 - 0.8 * s), wall),
            (0, sign * (width - wall) / 2, 0),
            (1, 0, 0),
            90,
        )
        for sign in (1, -1)
    ]
    handle = place(
        grip(rng, rng.uniform(0.1, 0.14), 0.028, 0.018), (-0.004, 0, height * 0.7), (0, 1, 0), -12
    )
    kind = rng.choice(("plastic", "plastic", "zinc"))
    return [
        PartMesh("handle", handle, "plastic", "a" if kind == "plastic" else "b"),
        PartMesh("body", join(floor, back, *sides), kind),
    ]


def classes() -> list[ObjectClass]:
    """List the tools of the wild level."""
    lie: tuple[str, ...] = ("settled",)
    roll: tuple[str, ...] = ("lying",)
    level: Level = "wild"
    return [
        ObjectClass("wrench", wrench, ("handle", "jaw"), level, 0.2, lie),
        ObjectClass("pliers", pliers, ("handle", "jaw"), level, 0.18, lie),
        ObjectClass(
            "drill", drill, ("handle", "body", "trigger", "bit"), level, 0.25, ("as_built", "side")
        ),
        ObjectClass("whisk", whisk, ("handle", "head"), level, 0.27, roll),
        ObjectClass("toothbrush", toothbrush, ("handle", "head", "bristles"), level, 0.19, roll),
        ObjectClass("axe", axe, ("handle", "head"), level, 0.4, lie),
        ObjectClass("saw", saw, ("handle", "blade"), level, 0.5, lie),
        ObjectClass("flashlight", flashlight, ("body", "head", "button"), level, 0.18, roll),
        ObjectClass("trowel", trowel, ("handle", "shaft", "blade"), level, 0.3, lie),
        ObjectClass("broom", broom, ("handle", "head", "bristles"), level, 1.2, lie),
        ObjectClass("shovel", shovel, ("handle", "shaft", "blade"), level, 1.1, lie),
        ObjectClass("dustpan", dustpan, ("handle", "body"), level, 0.33, lie),
    ]
