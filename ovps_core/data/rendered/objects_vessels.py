"""Parametric vessels of the table: mug, pan, pot, teapot, kettle, bottle, bucket, glass, jar, bowl, vase."""

from __future__ import annotations

import numpy as np
import trimesh

from ovps_core.data.rendered.meshes import arc, cut, join, revolve, ring, spline, sweep, vessel
from ovps_core.data.rendered.objects_cutlery import GRIP_MATERIALS, grip
from ovps_core.data.rendered.shape import ObjectClass, PartMesh, ShapeRng


def _radius_at(profile: np.ndarray, z: float) -> float:
    order = np.argsort(profile[:, 1], kind="stable")
    return float(np.interp(z, profile[order, 1], profile[order, 0]))


def side_handle(
    profile: np.ndarray, low: float, high: float, reach: float, thick: float, rng: ShapeRng
) -> trimesh.Trimesh:
    """A C- or D-shaped handle in the xz plane between two heights of a vessel's wall."""
    r_low, r_high = _radius_at(profile, low), _radius_at(profile, high)
    out = max(r_low, r_high) + reach
    mid = (low + high) / 2
    span = high - low
    inset = 0.0025
    if rng.chance(0.65):
        points = [(r_high - inset, high), (out - reach * 0.35, high), (out, mid + span * 0.2),
                  (out, mid - span * 0.15), (out - reach * 0.4, low), (r_low - inset, low)]  # fmt: skip
    else:
        points = [(r_high - inset, high), (out, high + 0.03 * span), (out, high - 0.12 * span),
                  (out - reach * 0.25, mid - span * 0.1), (r_low - inset, low)]  # fmt: skip
    curve = spline(points, 26)
    path = np.stack([curve[:, 0], np.zeros(26), curve[:, 1]], -1)
    flat = rng.uniform(0.65, 1.0)
    radii = np.stack([np.full(26, thick * flat), np.full(26, thick)], -1)
    return sweep(path, radii, sections=12, up=(0, 1, 0), square=rng.uniform(0, 0.6))


def lid_and_knob(
    rng: ShapeRng, radius: float, z: float, dome: float
) -> tuple[trimesh.Trimesh, trimesh.Trimesh]:
    """A domed lid that covers a mouth of this radius at height z, and the knob on its middle."""
    s = np.linspace(0, 1, 9)
    cap = np.stack([radius * np.cos(s * np.pi / 2), z + 0.004 + dome * np.sin(s * np.pi / 2)], -1)
    cap[-1, 0] = 0.0
    lid = revolve(np.vstack([[0.0, z], [radius * 0.97, z], [radius, z + 0.002], cap]))
    top = z + 0.004 + dome - 0.0015
    size = float(np.clip(radius * rng.uniform(0.22, 0.32), 0.0115, 0.022))
    style = rng.choice(("ball", "mushroom", "cylinder"))
    if style == "ball":
        profile = np.vstack(
            [[0, top], [size * 0.5, top], arc((0, top + size * 1.15), size, -60, 90, 9)]
        )
    elif style == "mushroom":
        profile = np.array(
            [[0, top], [size * 0.55, top], [size * 0.5, top + size * 0.6], [size * 1.2, top + size],
             [size * 1.2, top + size * 1.3], [size * 0.7, top + size * 1.7], [0, top + size * 1.8]]
        )  # fmt: skip
    else:
        profile = np.array(
            [[0, top], [size * 0.85, top], [size * 0.95, top + size * 1.3], [size * 0.8, top + size * 1.5], [0, top + size * 1.5]]
        )
    profile[-1, 0] = 0.0
    return lid, revolve(profile, sections=24)


def mug(rng: ShapeRng) -> list[PartMesh]:
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
    radius = rng.uniform(0.085, 0.13)
    height = radius * rng.latent(0.26, 0.58)
    flare = rng.uniform(0.74, 0.95)
    lip = 0.009
    profile = spline([(radius * flare, 0), (radius * (flare + 0.1 * (1 - flare)), height * 0.2), (radius, height - lip)], 9)
    body = vessel(profile, 0.0045, sections=48)
    rim = ring(radius - 0.002, height - lip / 2, 0.0045, lip / 2 + 0.0005, sections=48)
    length = rng.uniform(0.14, 0.2)
    handle = grip(rng, length, rng.uniform(0.022, 0.032), rng.uniform(0.014, 0.02), x0=_radius_at(profile, height - 0.016) - 0.003, z=height - 0.016)
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


def spout_of(
    profile: np.ndarray, low: float, tip: tuple[float, float], base: float, end: float, neck: bool
) -> trimesh.Trimesh:
    """A spout in the -x direction from the wall at height `low` to `tip` (distance, height)."""
    r = _radius_at(profile, low)
    start = (r - 0.012, low)
    bend = (r + (tip[0] - r) * (0.62 if neck else 0.4), low + (tip[1] - low) * (0.35 if neck else 0.45))
    curve = spline([start, (start[0] + 0.012, low + 0.004), bend, tip], 18)
    path = np.stack([-curve[:, 0], np.zeros(18), curve[:, 1]], -1)
    radii = spline([(0, base), (0.5, (base + end) * 0.5), (1, end)], 18)[:, 1]
    solid = sweep(path, radii, sections=14, up=(0, 1, 0))
    bore_path = path[9:].copy()
    bore_path = np.vstack([bore_path, bore_path[-1] + (bore_path[-1] - bore_path[-2])])
    bore = sweep(bore_path, np.append(radii[9:], radii[-1]) * 0.68, sections=12, up=(0, 1, 0))
    cavity = revolve(np.vstack([[0, profile[0, 1]], profile - [0.002, 0], [0, profile[-1, 1]]]))
    return cut(solid, bore, cavity)


def teapot(rng: ShapeRng) -> list[PartMesh]:
    radius = rng.uniform(0.06, 0.078)
    height = radius * rng.latent(1.05, 1.85)
    ratios = rng.choice(((0.62, 0.95, 1.0, 0.85, 0.55), (0.8, 1.0, 0.95, 0.8, 0.6), (0.55, 0.8, 1.0, 0.95, 0.6)))
    profile = spline(np.stack([np.asarray(ratios) * radius, np.linspace(0, height, 5)], -1), 18)
    body = vessel(profile, 0.004)
    lid, knob = lid_and_knob(rng, profile[-1, 0] * 1.05, height - 0.001, radius * rng.uniform(0.14, 0.32))
    handle = side_handle(profile, height * 0.2, height * 0.82, rng.uniform(0.03, 0.042), rng.uniform(0.0062, 0.0085), rng)
    spout = spout_of(profile, height * rng.uniform(0.25, 0.42), (radius + rng.uniform(0.045, 0.065), height * rng.uniform(0.85, 1.02)), rng.uniform(0.017, 0.022), rng.uniform(0.008, 0.011), True)
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
    """A stove kettle: wide base, short straight spout, handle arching over the lid."""
    radius = rng.uniform(0.08, 0.1)
    height = radius * rng.latent(0.95, 1.7)
    ratios = rng.choice(((0.96, 1.0, 0.92, 0.72, 0.45), (1.0, 0.94, 0.85, 0.7, 0.5), (0.85, 1.0, 0.98, 0.8, 0.45)))
    profile = spline(np.stack([np.asarray(ratios) * radius, np.linspace(0, height, 5)], -1), 18)
    body = vessel(profile, 0.004)
    lid, knob = lid_and_knob(rng, profile[-1, 0] * 1.06, height - 0.001, 0.012)
    foot = height * rng.uniform(0.74, 0.86)
    r_foot = _radius_at(profile, foot) - 0.002
    top = height + rng.uniform(0.06, 0.085)
    curve = spline([(-r_foot, foot), (-r_foot * 1.08, height + 0.02), (-r_foot * 0.6, top), (0, top + 0.006),
                    (r_foot * 0.6, top), (r_foot * 1.08, height + 0.02), (r_foot, foot)], 30)  # fmt: skip
    path = np.stack([curve[:, 0], np.zeros(30), curve[:, 1]], -1)
    thick = spline([(0, 0.006), (0.3, 0.008), (0.5, 0.0115), (0.7, 0.008), (1, 0.006)], 30)[:, 1]
    handle = sweep(path, np.stack([thick * 0.75, thick], -1), sections=12, up=(0, 1, 0))
    spout = spout_of(profile, height * rng.uniform(0.45, 0.6), (radius + rng.uniform(0.03, 0.055), height * rng.uniform(0.85, 1.0)), rng.uniform(0.022, 0.028), rng.uniform(0.011, 0.015), False)
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


def bottle(rng: ShapeRng) -> list[PartMesh]:
    radius = rng.uniform(0.03, 0.044)
    height = rng.uniform(0.12, 0.18)
    neck_height = rng.latent(0.03, 0.085)
    neck_radius = radius * rng.uniform(0.36, 0.5)
    shoulder = rng.uniform(0.012, 0.035)
    profile = [(0, 0), (radius * 0.92, 0), (radius, 0.006), (radius, height)]
    t = np.linspace(0, 1, 8)[1:]
    blend = np.stack([neck_radius + (radius - neck_radius) * (0.5 + 0.5 * np.cos(np.pi * t)), height + shoulder * t], -1)
    top = height + shoulder
    body = revolve(np.vstack([profile, blend, [0, top]]))
    neck_top = top + neck_height
    bulge = neck_radius * rng.uniform(0.9, 1.0)
    neck = revolve([(0, top - 0.001), (neck_radius, top - 0.001), (bulge, neck_top), (0, neck_top)], sections=28)
    cap_height = rng.uniform(0.016, 0.026)
    cap_radius = neck_radius * rng.uniform(1.12, 1.3)
    cap = revolve([(0, neck_top - 0.004), (cap_radius, neck_top - 0.004), (cap_radius, neck_top + cap_height - 0.003), (cap_radius * 0.88, neck_top + cap_height), (0, neck_top + cap_height)], sections=28)
    material = rng.choice(("glass", "plastic", "plastic", "ceramic"))
    return [
        PartMesh("body", body, material),
        PartMesh("neck", neck, material),
        PartMesh("cap", cap, rng.choice(("plastic", "steel", "wood")), "b"),
    ]


def bucket(rng: ShapeRng) -> list[PartMesh]:
    radius = rng.uniform(0.085, 0.115)
    height = radius * rng.latent(1.25, 2.0)
    lip = rng.uniform(0.011, 0.017)
    profile = np.array([(radius * rng.uniform(0.66, 0.82), 0), (radius, height - lip)])
    body = vessel(spline(profile, 6), 0.004, sections=44)
    rim = ring(radius, height - lip / 2, 0.006, lip / 2 + 0.001, sections=44)
    bail = radius + 0.007
    angle = np.radians(np.linspace(0, 180, 26))
    path = np.stack([bail * np.cos(angle), np.zeros(26), bail * rng.uniform(0.85, 1.1) * np.sin(angle)], -1)
    handle = sweep(path, rng.uniform(0.0042, 0.006), sections=10, up=(0, 1, 0))
    lean = rng.choice((0.0, 25.0, 60.0, 97.0)) + rng.uniform(-8, 8)
    turn = trimesh.transformations.rotation_matrix(np.radians(lean), (1, 0, 0))
    turn[:3, 3] = (0, 0, height - lip)
    handle.apply_transform(turn)
    material = rng.choice(("plastic", "plastic", "zinc", "enamel"))
    rim_kind = "steel" if material == "zinc" else material
    return [
        PartMesh("handle", handle, rng.choice(("steel", "plastic")), "b"),
        PartMesh("rim", rim, rim_kind, "b" if rng.chance(0.3) else "a"),
        PartMesh("body", body, material),
    ]


def wine_glass(rng: ShapeRng) -> list[PartMesh]:
    radius = rng.uniform(0.034, 0.045)
    bowl_height = radius * rng.latent(1.5, 2.9)
    stem_height = rng.uniform(0.06, 0.095)
    base_radius = radius * rng.uniform(0.85, 1.0)
    stem_radius = rng.uniform(0.005, 0.0075)
    base = revolve([(0, 0), (base_radius, 0), (base_radius, 0.004), (base_radius * 0.5, 0.007), (stem_radius * 1.5, 0.013), (0, 0.013)])
    stem = revolve([(0, 0.011), (stem_radius * 1.5, 0.011), (stem_radius, 0.025), (stem_radius, stem_height), (stem_radius * 1.6, stem_height + 0.012), (0, stem_height + 0.012)], sections=20)
    mouth = rng.uniform(0.75, 1.0)
    z0 = stem_height + 0.008
    shape = spline([(stem_radius * 1.4, 0), (radius * 0.75, bowl_height * 0.14), (radius, bowl_height * 0.42), (radius * mouth, bowl_height)], 16)
    bowl = vessel(shape + [0, z0], 0.0025)
    material = rng.choice(("glass", "glass", "steel", "ceramic"))
    stem_tint = "b" if rng.chance(0.2) else "a"
    return [
        PartMesh("bowl", bowl, material),
        PartMesh("stem", stem, material, stem_tint),
        PartMesh("base", base, material, stem_tint),
    ]


def jar(rng: ShapeRng) -> list[PartMesh]:
    radius = rng.uniform(0.038, 0.052)
    height = radius * rng.latent(1.5, 3.0)
    mouth = radius * rng.uniform(0.82, 0.96)
    profile = [(0, 0), (radius * 0.93, 0), (radius, 0.006), (radius, height * 0.86), (mouth, height), (0, height)]
    body = revolve(profile)
    material = rng.choice(("glass", "ceramic", "ceramic"))
    kind = rng.choice(("wood", "steel", "plastic", "ceramic"))
    if rng.chance(0.5):
        lid, knob = lid_and_knob(rng, mouth * 1.1, height - 0.001, rng.uniform(0.008, 0.02))
        return [
            PartMesh("lid", lid, kind, "b"),
            PartMesh("knob", knob, kind, "b" if rng.chance(0.5) else "c"),
            PartMesh("body", body, material),
        ]
    thick = rng.uniform(0.016, 0.026)
    lid = revolve([(0, height - 0.004), (mouth * 1.1, height - 0.004), (mouth * 1.1, height + thick - 0.003), (mouth, height + thick), (0, height + thick)])
    return [PartMesh("lid", lid, kind, "b"), PartMesh("body", body, material)]


def bowl(rng: ShapeRng) -> list[PartMesh]:
    radius = rng.uniform(0.065, 0.1)
    height = radius * rng.latent(0.5, 1.0)
    foot, lip = rng.uniform(0.009, 0.014), rng.uniform(0.008, 0.012)
    t = np.radians(np.linspace(15, 90, 10))
    wall = np.stack([radius * np.sin(t), foot + (height - lip - foot) * (1 - np.cos(t)) - 0.002], -1)
    wall[-1, 1] = height - lip
    body = vessel(wall, 0.004, sections=44)
    rim = ring(radius - 0.002, height - lip / 2, 0.0036, lip / 2 + 0.0005, sections=44)
    r_foot = radius * rng.uniform(0.42, 0.58)
    # The foot ends on the wall's outside, so that it never shows on the bowl's floor.
    under = spline(np.vstack([[0.0, foot - 0.002], wall[:5]]), 24) + [0, 0.001]
    under = under[under[:, 0] < r_foot]
    under[0, 0] = 0.0
    base = revolve(np.vstack([[0, 0], [r_foot, 0], [r_foot, under[-1, 1]], under[::-1]]))
    material = rng.choice(("ceramic", "ceramic", "wood", "steel", "enamel"))
    return [
        PartMesh("rim", rim, material, "b" if rng.chance(0.4) else "a"),
        PartMesh("body", body, material),
        PartMesh("base", base, material, "b" if rng.chance(0.25) else "a"),
    ]


def vase(rng: ShapeRng) -> list[PartMesh]:
    radius = rng.uniform(0.04, 0.06)
    height = rng.uniform(0.1, 0.15)
    neck_height = rng.latent(0.03, 0.075)
    neck_radius = radius * rng.uniform(0.35, 0.5)
    shape = spline([(radius * 0.55, 0), (radius, height * rng.uniform(0.4, 0.6)), (neck_radius, height)], 14)
    body = revolve(np.vstack([[0, 0], shape, [0, height]]))
    lip_z = height + neck_height
    neck_outer = spline([(neck_radius, 0), (neck_radius * 0.9, neck_height * 0.5), (neck_radius * 1.15, neck_height)], 8)
    neck = vessel(neck_outer + [0, height - 0.001], 0.0035, sections=32)
    rim = ring(neck_radius * 1.15, lip_z, 0.0055, rng.uniform(0.005, 0.007), sections=32)
    material = rng.choice(("ceramic", "ceramic", "glass"))
    return [
        PartMesh("neck", neck, material),
        PartMesh("rim", rim, material, "b" if rng.chance(0.4) else "a"),
        PartMesh("body", body, material),
    ]


def classes() -> list[ObjectClass]:
    """The vessels of the tabletop level."""
    up, tip = ("as_built",), ("as_built", "as_built", "as_built", "side")
    level = "tabletop"
    return [
        ObjectClass("mug", mug, ("handle", "rim", "body"), level, 0.12, tip),
        ObjectClass("pan", pan, ("handle", "rim", "body"), level, 0.38, up),
        ObjectClass("pot", pot, ("handle", "lid", "knob", "body"), level, 0.26, up),
        ObjectClass("teapot", teapot, ("handle", "spout", "lid", "knob", "body"), level, 0.24, up),
        ObjectClass("kettle", kettle, ("handle", "spout", "lid", "knob", "body"), level, 0.24, up),
        ObjectClass("bottle", bottle, ("body", "neck", "cap"), level, 0.25, ("as_built", "side")),
        ObjectClass("bucket", bucket, ("handle", "rim", "body"), level, 0.26, tip),
        ObjectClass("wine glass", wine_glass, ("bowl", "stem", "base"), level, 0.2, tip),
        ObjectClass("jar", jar, ("lid", "knob", "body"), level, 0.15, tip),
        ObjectClass("bowl", bowl, ("rim", "body", "base"), level, 0.17, ("as_built", "as_built", "upside_down")),
        ObjectClass("vase", vase, ("neck", "rim", "body"), level, 0.2, tip),
    ]
