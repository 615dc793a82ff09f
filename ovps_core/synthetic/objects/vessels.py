"""Parametric vessels of the tabletop level: mug, pan, pot, teapot, kettle."""

from __future__ import annotations

import numpy as np

from ovps_core.synthetic.meshes import cut, join, revolve, ring, spline, sweep, vessel
from ovps_core.synthetic.object_class import ObjectClass, PartMesh, ShapeRng
from ovps_core.synthetic.objects.cutlery import GRIP_MATERIALS, grip
from ovps_core.synthetic.settings import Level
from ovps_core.synthetic.vessel_parts import hollow_spout, lid_and_knob, radius_at, side_handle


def mug(rng: ShapeRng) -> list[PartMesh]:
    """Build a mug of one of four profiles; the latent is its radius."""
    height = rng.uniform(0.08, 0.115)
    radius = height * rng.latent(0.34, 0.56)
    kind = rng.choice(("straight", "tulip", "barrel", "cone"))
    ratios = {
        "straight": (0.94, 1.0, 1.0, 1.0, 1.0),
        "tulip": (0.7, 0.92, 0.9, 0.95, 1.08),
        "barrel": (0.8, 0.98, 1.06, 1.0, 0.9),
        "cone": (0.68, 0.76, 0.85, 0.93, 1.0),
    }[kind]
    lip = rng.uniform(0.008, 0.013)
    z = np.linspace(0.0, height - lip, 5)
    profile = spline(np.stack([np.asarray(ratios) * radius, z], -1), 14)
    wall = 0.004
    body = vessel(profile, wall)
    rim_radius = profile[-1, 0] - wall / 2
    rim = ring(rim_radius, height - lip / 2, wall * 0.65 + 0.0008, lip / 2 + 0.0005)
    handle = side_handle(
        profile, height * rng.uniform(0.14, 0.22), height * rng.uniform(0.72, 0.8),
        rng.uniform(0.026, 0.038), rng.uniform(0.0058, 0.008), rng,
    )  # fmt: skip
    material = rng.choice(("ceramic", "ceramic", "ceramic", "enamel"))
    rim_tint = "b" if rng.chance(0.35) else "a"
    handle_tint = "b" if rng.chance(0.2) else "a"
    return [
        PartMesh("handle", handle, material, handle_tint),
        PartMesh("rim", rim, material, rim_tint),
        PartMesh("body", body, material),
    ]


def pan(rng: ShapeRng) -> list[PartMesh]:
    """Build a frying pan; the latent is its height."""
    radius = rng.uniform(0.085, 0.13)
    height = radius * rng.latent(0.26, 0.58)
    flare = rng.uniform(0.74, 0.95)
    lip = 0.009
    profile = spline(
        [
            (radius * flare, 0),
            (radius * (flare + 0.1 * (1 - flare)), height * 0.2),
            (radius, height - lip),
        ],
        9,
    )
    body = vessel(profile, 0.0045, sections=48)
    rim = ring(radius - 0.002, height - lip / 2, 0.0045, lip / 2 + 0.0005, sections=48)
    length = rng.uniform(0.14, 0.2)
    handle = grip(
        rng,
        length,
        rng.uniform(0.022, 0.032),
        rng.uniform(0.014, 0.02),
        x0=radius_at(profile, height - 0.016) - 0.003,
        z=height - 0.016,
    )
    tilt = rng.uniform(0, 12)
    shear = np.tan(np.radians(tilt))
    handle.vertices[:, 2] += np.clip(handle.vertices[:, 0] - radius, 0, None) * shear
    cavity = revolve(np.vstack([[0, 0], profile - [0.002, 0], [0, height]]))
    handle = cut(handle, cavity)
    metal = rng.choice(("steel", "iron", "iron", "enamel"))
    kind = metal if rng.chance(0.25) else rng.choice(GRIP_MATERIALS)
    return [
        PartMesh("handle", handle, kind, "a" if kind == metal else "b"),
        PartMesh("rim", rim, metal if rng.chance(0.7) else "steel", "a"),
        PartMesh("body", body, metal),
    ]


def pot(rng: ShapeRng) -> list[PartMesh]:
    """Build a cooking pot with two handles and a lid; the latent is its height."""
    radius = rng.uniform(0.075, 0.11)
    height = radius * rng.latent(0.75, 1.6)
    profile = spline([(radius * 0.93, 0), (radius, height * 0.15), (radius, height)], 10)
    body = vessel(profile, 0.004, sections=44)
    ears = []
    reach, thick = rng.uniform(0.024, 0.038), rng.uniform(0.006, 0.0085)
    half = rng.uniform(0.026, 0.038)
    z = height * rng.uniform(0.68, 0.85)
    for sign in (1, -1):
        start = np.sqrt(radius**2 - half**2) - 0.003
        curve = spline([(start, -half), (radius + reach * 0.75, -half * 0.85), (radius + reach, 0),
                        (radius + reach * 0.75, half * 0.85), (start, half)], 20)  # fmt: skip
        path = np.stack([sign * curve[:, 0], sign * curve[:, 1], np.full(20, z)], -1)
        ears.append(sweep(path, thick, sections=10))
    metal = rng.choice(("steel", "enamel", "enamel", "iron"))
    ear_kind = rng.choice((metal, "plastic", "plastic"))
    parts = [
        PartMesh("handle", join(*ears), ear_kind, "a" if ear_kind == metal else "b"),
        PartMesh("body", body, metal),
    ]
    lid, knob = lid_and_knob(rng, radius * 1.025, height, radius * rng.uniform(0.12, 0.34))
    lid_kind = rng.choice((metal, metal, "glass", "steel"))
    knob_kind = rng.choice(("plastic", "wood", "steel", "plastic"))
    parts.append(PartMesh("lid", lid, lid_kind, "a" if lid_kind == metal else "c"))
    parts.append(PartMesh("knob", knob, knob_kind, "b"))
    return parts


def teapot(rng: ShapeRng) -> list[PartMesh]:
    """Build a teapot with handle, spout and lid; the latent is its height."""
    radius = rng.uniform(0.06, 0.078)
    height = radius * rng.latent(1.05, 1.85)
    ratios = rng.choice(
        ((0.62, 0.95, 1.0, 0.85, 0.55), (0.8, 1.0, 0.95, 0.8, 0.6), (0.55, 0.8, 1.0, 0.95, 0.6))
    )
    profile = spline(np.stack([np.asarray(ratios) * radius, np.linspace(0, height, 5)], -1), 18)
    body = vessel(profile, 0.004)
    lid, knob = lid_and_knob(
        rng, profile[-1, 0] * 1.05, height - 0.001, radius * rng.uniform(0.14, 0.32)
    )
    handle = side_handle(
        profile,
        height * 0.2,
        height * 0.82,
        rng.uniform(0.03, 0.042),
        rng.uniform(0.0062, 0.0085),
        rng,
    )
    spout = hollow_spout(
        profile,
        height * rng.uniform(0.25, 0.42),
        (radius + rng.uniform(0.045, 0.065), height * rng.uniform(0.85, 1.02)),
        rng.uniform(0.017, 0.022),
        rng.uniform(0.008, 0.011),
        True,
    )
    material = rng.choice(("ceramic", "ceramic", "enamel", "iron"))
    tint = "b" if rng.chance(0.25) else "a"
    return [
        PartMesh("handle", handle, material, tint),
        PartMesh("spout", spout, material),
        PartMesh("lid", lid, material, "b" if rng.chance(0.2) else "a"),
        PartMesh("knob", knob, rng.choice((material, "wood", material)), tint),
        PartMesh("body", body, material),
    ]


def kettle(rng: ShapeRng) -> list[PartMesh]:
    """Build a stove kettle with a handle above its lid; the latent is its height."""
    radius = rng.uniform(0.08, 0.1)
    height = radius * rng.latent(0.95, 1.7)
    ratios = rng.choice(
        ((0.96, 1.0, 0.92, 0.72, 0.45), (1.0, 0.94, 0.85, 0.7, 0.5), (0.85, 1.0, 0.98, 0.8, 0.45))
    )
    profile = spline(np.stack([np.asarray(ratios) * radius, np.linspace(0, height, 5)], -1), 18)
    body = vessel(profile, 0.004)
    lid, knob = lid_and_knob(rng, profile[-1, 0] * 1.06, height - 0.001, 0.012)
    foot = height * rng.uniform(0.74, 0.86)
    r_foot = radius_at(profile, foot) - 0.002
    top = height + rng.uniform(0.06, 0.085)
    half = [(r_foot, foot), (r_foot * 1.08, height + 0.02), (r_foot * 0.6, top)]
    curve = spline([*((-x, z) for x, z in half), (0, top + 0.006), *half[::-1]], 30)
    path = np.stack([curve[:, 0], np.zeros(30), curve[:, 1]], -1)
    thick = spline([(0, 0.006), (0.3, 0.008), (0.5, 0.0115), (0.7, 0.008), (1, 0.006)], 30)[:, 1]
    handle = sweep(path, np.stack([thick * 0.75, thick], -1), sections=12, up=(0, 1, 0))
    spout = hollow_spout(
        profile,
        height * rng.uniform(0.45, 0.6),
        (radius + rng.uniform(0.03, 0.055), height * rng.uniform(0.85, 1.0)),
        rng.uniform(0.022, 0.028),
        rng.uniform(0.011, 0.015),
        False,
    )
    metal = rng.choice(("steel", "enamel", "enamel"))
    kind = rng.choice(("plastic", "wood", metal))
    tint = "a" if kind == metal else "b"
    return [
        PartMesh("handle", handle, kind, tint),
        PartMesh("spout", spout, metal),
        PartMesh("lid", lid, metal),
        PartMesh("knob", knob, rng.choice(("plastic", "wood", "steel")), "b"),
        PartMesh("body", body, metal),
    ]


def classes() -> list[ObjectClass]:
    """List the vessels of the tabletop level."""
    up: tuple[str, ...] = ("as_built",)
    tip: tuple[str, ...] = ("as_built", "as_built", "as_built", "side")
    level: Level = "tabletop"
    return [
        ObjectClass("mug", mug, ("handle", "rim", "body"), level, 0.12, tip),
        ObjectClass("pan", pan, ("handle", "rim", "body"), level, 0.38, up),
        ObjectClass("pot", pot, ("handle", "lid", "knob", "body"), level, 0.26, up),
        ObjectClass("teapot", teapot, ("handle", "spout", "lid", "knob", "body"), level, 0.24, up),
        ObjectClass("kettle", kettle, ("handle", "spout", "lid", "knob", "body"), level, 0.24, up),
    ]
