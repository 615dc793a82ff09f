"""Parametric household objects of the wild level: baskets, jugs, bags, trays, suitcases."""

from __future__ import annotations

import numpy as np

from ovps_core.synthetic.meshes import (
    box,
    cut,
    dish,
    join,
    loft,
    place,
    revolve,
    ring,
    spline,
    sweep,
    vessel,
)
from ovps_core.synthetic.object_class import ObjectClass, PartMesh, ShapeRng
from ovps_core.synthetic.objects.cutlery import grip
from ovps_core.synthetic.settings import Level
from ovps_core.synthetic.vessel_parts import hollow_spout, side_handle


def _arch(half: float, base_z: float, rise: float) -> np.ndarray:
    """Return points [26, 3] of an arch over the x axis from (-half, base_z) to (half, base_z)."""
    angle = np.linspace(np.pi, 0, 26)
    return np.stack([half * np.cos(angle), np.zeros(26), base_z + rise * np.sin(angle)], -1)


def basket(rng: ShapeRng) -> list[PartMesh]:
    """Build a coiled basket with an arched handle; the latent is its height."""
    radius = rng.uniform(0.12, 0.17)
    height = radius * rng.latent(0.6, 1.4)
    coils = max(4, int(height / 0.018))
    shape = spline([(radius * rng.uniform(0.7, 0.85), 0.008), (radius, height)], coils)
    body = [ring(r, z, 0.009, 0.0105) for r, z in shape[:-1]]
    floor = revolve([(0, 0), (shape[0, 0], 0), (shape[0, 0], 0.01), (0, 0.01)])
    rim = ring(radius, height, 0.013, 0.013)
    path = _arch(radius, height, rng.uniform(1.0, 1.5) * radius)
    handle = sweep(path, np.stack([np.full(26, 0.009), np.full(26, 0.014)], -1), up=(0, 1, 0))
    tint = rng.choice(("a", "b"))
    return [
        PartMesh("handle", handle, "wood", tint),
        PartMesh("rim", rim, "wood", tint),
        PartMesh("body", join(floor, *body), "wood"),
    ]


def watering_can(rng: ShapeRng) -> list[PartMesh]:
    """Build a watering can with a sprinkler head; the latent is its height."""
    radius = rng.uniform(0.08, 0.1)
    height = radius * rng.latent(1.3, 2.3)
    profile = spline(
        [(radius, 0), (radius, height * 0.6), (radius * rng.uniform(0.75, 1.0), height)], 14
    )
    body = vessel(profile, 0.004)
    tip = (radius + rng.uniform(0.13, 0.18), height * rng.uniform(1.0, 1.2))
    spout = hollow_spout(profile, height * 0.25, tip, 0.018, 0.012, False)
    direction = np.array([tip[0] - radius, tip[1] - height * 0.25])
    angle = np.degrees(np.arctan2(direction[0], direction[1]))
    rose = revolve(
        [(0, -0.01), (0.012, -0.01), (0.034, 0.024), (0.034, 0.03), (0, 0.034)], sections=24
    )
    place(rose, (-tip[0], 0, tip[1]), (0, 1, 0), -angle * 0.8)
    handle = side_handle(profile, height * 0.2, height * 0.9, rng.uniform(0.05, 0.07), 0.0085, rng)
    kind = rng.choice(("zinc", "plastic", "enamel"))
    return [
        PartMesh("handle", handle, kind, rng.choice(("a", "b"))),
        PartMesh("spout", spout, kind),
        PartMesh("head", rose, rng.choice((kind, "brass")), rng.choice(("a", "c"))),
        PartMesh("body", body, kind),
    ]


def jug(rng: ShapeRng) -> list[PartMesh]:
    """Build a jug with a pouring lip; the latent is its height."""
    radius = rng.uniform(0.05, 0.065)
    height = radius * rng.latent(2.2, 3.8)
    ratios = rng.choice(
        ((0.8, 1.0, 0.9, 0.7, 0.85), (0.9, 1.0, 1.0, 0.95, 1.0), (0.7, 1.05, 0.85, 0.6, 0.8))
    )
    lip = 0.011
    profile = spline(
        np.stack([np.asarray(ratios) * radius, np.linspace(0, height - lip, 5)], -1), 18
    )
    body = vessel(profile, 0.004)
    rim = ring(profile[-1, 0] - 0.002, height - lip / 2, 0.0035, lip / 2 + 0.0005)
    # The pouring lip: the rim drawn out towards -x.
    pull = np.clip(-rim.vertices[:, 0] / profile[-1, 0] - 0.7, 0, None) / 0.3
    rim.vertices[:, 0] -= 0.016 * pull
    handle = side_handle(
        profile, height * 0.2, height * 0.86, rng.uniform(0.032, 0.045), 0.0075, rng
    )
    kind = rng.choice(("ceramic", "glass", "enamel", "steel"))
    return [
        PartMesh("handle", handle, kind, "b" if rng.chance(0.2) else "a"),
        PartMesh("rim", rim, kind, "b" if rng.chance(0.3) else "a"),
        PartMesh("body", body, kind),
    ]


def cutting_board(rng: ShapeRng) -> list[PartMesh]:
    """Build a cutting board with a holed handle; the latent is its length."""
    length, width = rng.latent(0.2, 0.34), rng.uniform(0.14, 0.2)
    thick = rng.uniform(0.012, 0.02)
    board = place(box((length, width, thick), bevel=rng.uniform(0.005, 0.03)), (-length / 2, 0, 0))
    reach = rng.uniform(0.07, 0.1)
    half = rng.uniform(0.02, 0.028)
    tongue = place(box((reach + 0.004, 2 * half, thick), bevel=0.014), (reach / 2 - 0.002, 0, 0))
    hole = revolve([(0, -0.05), (half * 0.4, -0.05), (half * 0.4, 0.05), (0, 0.05)], sections=20)
    kind = rng.choice(("wood", "wood", "plastic"))
    return [
        PartMesh("handle", cut(tongue, place(hole, (reach * 0.65, 0, 0))), kind),
        PartMesh("body", board, kind),
    ]


def bag(rng: ShapeRng) -> list[PartMesh]:
    """Build a standing tote bag with two loops; the latent is its height."""
    width, depth = rng.uniform(0.28, 0.38), rng.uniform(0.08, 0.14)
    height = rng.latent(0.24, 0.42)
    rings = []
    angle = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    for z, wx, wy in (
        (0, 0.92, 1.0),
        (0.02, 1.0, 1.05),
        (0.5, 1.0, 0.95),
        (0.85, 1.02, 0.6),
        (1.0, 1.03, 0.45),
    ):
        sag = 1 + 0.03 * np.sin(5 * angle + 9 * z)
        x = width / 2 * wx * np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** 0.4
        y = depth / 2 * wy * np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** 0.4
        rings.append(np.stack([x * sag, y * sag, np.full(40, z * height)], -1))
    body = loft(np.asarray(rings))
    loops = []
    half, rise = width * rng.uniform(0.2, 0.28), rng.uniform(0.1, 0.2)
    for sign in (1, -1):
        path = _arch(half, height - 0.01, rise) + np.array([0, sign * depth * 0.22, 0])
        path[:, 1] += sign * rng.uniform(0.0, 0.03) * np.sin(np.linspace(0, np.pi, 26))
        loops.append(sweep(path, [[0.004, 0.012]] * 26, up=(0, 1, 0), square=0.6))
    kind = rng.choice(("cloth", "cloth", "rubber", "paint"))
    return [
        PartMesh("handle", join(*loops), rng.choice((kind, "rubber")), rng.choice(("a", "b"))),
        PartMesh("body", body, kind),
    ]


def tray(rng: ShapeRng) -> list[PartMesh]:
    """Build a tray with two handles; the latent is its length."""
    length, width, height = rng.latent(0.28, 0.46), rng.uniform(0.2, 0.3), rng.uniform(0.03, 0.05)
    wall, lip = 0.008, 0.010
    outside = box((length, width, height), (0, 0, height / 2), 0.03)
    inside = box((length - 2 * wall, width - 2 * wall, height), (0, 0, height / 2 + 0.006), 0.026)
    rim = cut(
        box((length + 0.012, width + 0.012, lip), (0, 0, height + lip / 2), 0.034),
        box((length - 0.012, width - 0.012, lip * 3), (0, 0, height), 0.026),
    )
    half, out = width * 0.22, rng.uniform(0.028, 0.04)
    handles = []
    for sign in (1, -1):
        x = length / 2 - 0.002
        curve = spline([(x, -half), (x + out, -half * 0.85), (x + out, half * 0.85), (x, half)], 22)
        path = np.stack([sign * curve[:, 0], sign * curve[:, 1], np.full(22, height * 0.6)], -1)
        handles.append(sweep(path, 0.0075, sections=10))
    kind = rng.choice(("wood", "plastic", "steel"))
    return [
        PartMesh("handle", join(*handles), rng.choice((kind, "brass", "iron")), "b"),
        PartMesh("rim", rim, kind, rng.choice(("a", "c"))),
        PartMesh("body", cut(outside, inside), kind),
    ]


def rolling_pin(rng: ShapeRng) -> list[PartMesh]:
    """Build a rolling pin; the latent is the length of its roller."""
    length, radius = rng.latent(0.2, 0.32), rng.uniform(0.022, 0.03)
    x = np.array([-0.5, -0.48, 0, 0.48, 0.5]) * length
    body = sweep(
        np.stack([x, 0 * x, 0 * x], -1), radius * np.array([0.85, 1, 1, 1, 0.85]), sections=24
    )
    handles = [
        place(grip(rng, 0.085, radius * 0.95, radius * 0.95), (length / 2 - 0.003, 0, 0)),
        place(
            grip(rng, 0.085, radius * 0.95, radius * 0.95, x0=length / 2 - 0.003),
            (0, 0, 0),
            (0, 0, 1),
            180,
        ),
    ]
    return [
        PartMesh("handle", join(*handles), rng.choice(("wood", "plastic")), "b"),
        PartMesh("body", body, rng.choice(("wood", "wood", "ceramic"))),
    ]


def suitcase(rng: ShapeRng) -> list[PartMesh]:
    """Build a suitcase with a pull-out handle and wheels; the latent is its height."""
    width, depth, height = rng.uniform(0.32, 0.45), rng.uniform(0.18, 0.25), rng.latent(0.4, 0.68)
    body = box((width, depth, height), (0, 0, height / 2 + 0.04), 0.04)
    grooves = [
        box((0.012, depth * 1.02, height * 0.9), (x, 0, height / 2 + 0.04))
        for x in np.linspace(-0.32, 0.32, 5) * width
    ]
    wheels = [
        place(
            revolve([(0, -0.014), (0.036, -0.016), (0.036, 0.016), (0, 0.014)], sections=20),
            (sx * width * 0.38, sy * depth * 0.34, 0.036),
            (1, 0, 0),
            90,
        )
        for sx in (1, -1)
        for sy in (1, -1)
    ]
    posts_z, reach = height + 0.04, rng.uniform(0.08, 0.4)
    half = width * 0.2
    bar = [
        [-half, 0, posts_z - 0.02],
        [-half, 0, posts_z + reach],
        [half, 0, posts_z + reach],
        [half, 0, posts_z - 0.02],
    ]
    handle = join(
        *(box((0.018, 0.014, reach + 0.02), (s * half, 0, posts_z + reach / 2)) for s in (1, -1)),
        sweep(
            [[-half - 0.01, 0, bar[1][2]], [0, 0, bar[1][2]], [half + 0.01, 0, bar[1][2]]], 0.016
        ),
    )
    kind = rng.choice(("plastic", "paint", "cloth"))
    return [
        PartMesh("handle", handle, rng.choice(("plastic", "steel", "iron")), "b"),
        PartMesh("body", join(body, *grooves), kind),
        PartMesh("wheel", join(*wheels), "rubber", "c"),
    ]


def soap_dispenser(rng: ShapeRng) -> list[PartMesh]:
    """Build a pump bottle with a spout on its pump head; the latent is its height."""
    radius, height = rng.uniform(0.03, 0.042), rng.latent(0.09, 0.17)
    body = revolve(
        [(0, 0), (radius, 0), (radius, height * 0.85), (radius * 0.45, height), (0, height)]
    )
    neck = revolve(
        [
            (0, height - 0.001),
            (0.014, height - 0.001),
            (0.014, height + 0.02),
            (0.006, height + 0.022),
            (0.006, height + 0.05),
            (0, height + 0.05),
        ],
        sections=24,
    )
    top = height + 0.05
    head = revolve(
        [(0, top - 0.004), (0.017, top - 0.004), (0.017, top + 0.012), (0, top + 0.014)],
        sections=24,
    )
    nozzle = sweep(
        [[-0.005, 0, top + 0.005], [-0.035, 0, top + 0.006], [-0.05, 0, top - 0.006]],
        [0.0065, 0.006, 0.0055],
        up=(0, 1, 0),
    )
    kind = rng.choice(("plastic", "ceramic", "glass"))
    other = rng.choice(("plastic", "steel", "brass"))
    return [
        PartMesh("body", body, kind),
        PartMesh("neck", neck, other, "b"),
        PartMesh("head", head, other, "b"),
        PartMesh("spout", nozzle, other, "b"),
    ]


def ice_cream_scoop(rng: ShapeRng) -> list[PartMesh]:
    """Build an ice cream scoop; the latent is the radius of its bowl."""
    radius = rng.latent(0.022, 0.038)
    bowl = place(dish(2 * radius, 2 * radius, radius * 0.95, 0.003), (-radius, 0, 0))
    handle = grip(rng, rng.uniform(0.11, 0.14), 0.024, 0.02, x0=0.018, z=0.002)
    shaft = sweep([[-0.002, 0, -0.002], [0.01, 0, 0.0], [0.024, 0, 0.002]], 0.006)
    return [
        PartMesh("handle", handle, rng.choice(("plastic", "rubber", "wood", "steel")), "b"),
        PartMesh("shaft", shaft, "steel"),
        PartMesh("bowl", bowl, "steel"),
    ]


def classes() -> list[ObjectClass]:
    """List the household objects of the wild level."""
    up: tuple[str, ...] = ("as_built",)
    tip: tuple[str, ...] = ("as_built", "as_built", "side")
    level: Level = "wild"
    return [
        ObjectClass("basket", basket, ("handle", "rim", "body"), level, 0.35, up),
        ObjectClass(
            "watering can", watering_can, ("handle", "spout", "head", "body"), level, 0.4, up
        ),
        ObjectClass("jug", jug, ("handle", "rim", "body"), level, 0.22, tip),
        ObjectClass("cutting board", cutting_board, ("handle", "body"), level, 0.38, up),
        ObjectClass("bag", bag, ("handle", "body"), level, 0.5, up),
        ObjectClass("tray", tray, ("handle", "rim", "body"), level, 0.5, up),
        ObjectClass("rolling pin", rolling_pin, ("handle", "body"), level, 0.45, up),
        ObjectClass("suitcase", suitcase, ("handle", "body", "wheel"), level, 0.8, tip),
        ObjectClass(
            "soap dispenser", soap_dispenser, ("body", "neck", "head", "spout"), level, 0.22, tip
        ),
        ObjectClass(
            "ice cream scoop",
            ice_cream_scoop,
            ("handle", "shaft", "bowl"),
            level,
            0.22,
            ("settled",),
        ),
    ]
