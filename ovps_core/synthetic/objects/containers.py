"""Parametric containers of the tabletop level: bottle, bucket, wine glass, jar, bowl, vase."""

from __future__ import annotations

import numpy as np

from ovps_core.synthetic.meshes import revolve, ring, rotation, spline, sweep, vessel
from ovps_core.synthetic.object_class import ObjectClass, PartMesh, ShapeRng
from ovps_core.synthetic.settings import Level
from ovps_core.synthetic.vessel_parts import lid_and_knob


def bottle(rng: ShapeRng) -> list[PartMesh]:
    """Build a bottle with a cap; the latent is the length of its neck."""
    radius = rng.uniform(0.03, 0.044)
    height = rng.uniform(0.12, 0.18)
    neck_height = rng.latent(0.03, 0.085)
    neck_radius = radius * rng.uniform(0.36, 0.5)
    shoulder = rng.uniform(0.012, 0.035)
    profile = [(0, 0), (radius * 0.92, 0), (radius, 0.006), (radius, height)]
    t = np.linspace(0, 1, 8)[1:]
    blend = np.stack(
        [
            neck_radius + (radius - neck_radius) * (0.5 + 0.5 * np.cos(np.pi * t)),
            height + shoulder * t,
        ],
        -1,
    )
    top = height + shoulder
    body = revolve(np.vstack([profile, blend, [0, top]]))
    neck_top = top + neck_height
    bulge = neck_radius * rng.uniform(0.9, 1.0)
    neck = revolve(
        [(0, top - 0.001), (neck_radius, top - 0.001), (bulge, neck_top), (0, neck_top)],
        sections=28,
    )
    cap_height = rng.uniform(0.016, 0.026)
    cap_radius = neck_radius * rng.uniform(1.12, 1.3)
    cap = revolve(
        [
            (0, neck_top - 0.004),
            (cap_radius, neck_top - 0.004),
            (cap_radius, neck_top + cap_height - 0.003),
            (cap_radius * 0.88, neck_top + cap_height),
            (0, neck_top + cap_height),
        ],
        sections=28,
    )
    material = rng.choice(("glass", "plastic", "plastic", "ceramic"))
    return [
        PartMesh("body", body, material),
        PartMesh("neck", neck, material),
        PartMesh("cap", cap, rng.choice(("plastic", "steel", "wood")), "b"),
    ]


def bucket(rng: ShapeRng) -> list[PartMesh]:
    """Build a bucket whose bail handle stands or leans; the latent is its height."""
    radius = rng.uniform(0.085, 0.115)
    height = radius * rng.latent(1.25, 2.0)
    lip = rng.uniform(0.011, 0.017)
    profile = np.array([(radius * rng.uniform(0.66, 0.82), 0), (radius, height - lip)])
    body = vessel(spline(profile, 6), 0.004, sections=44)
    rim = ring(radius, height - lip / 2, 0.006, lip / 2 + 0.001, sections=44)
    bail = radius + 0.007
    angle = np.radians(np.linspace(0, 180, 26))
    path = np.stack(
        [bail * np.cos(angle), np.zeros(26), bail * rng.uniform(0.85, 1.1) * np.sin(angle)], -1
    )
    handle = sweep(path, rng.uniform(0.0042, 0.006), sections=10, up=(0, 1, 0))
    lean = rng.choice((0.0, 25.0, 60.0, 97.0)) + rng.uniform(-8, 8)
    turn = rotation(lean, (1, 0, 0))
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
    """Build a wine glass; the latent is the height of its bowl."""
    radius = rng.uniform(0.034, 0.045)
    bowl_height = radius * rng.latent(1.5, 2.9)
    stem_height = rng.uniform(0.06, 0.095)
    base_radius = radius * rng.uniform(0.85, 1.0)
    stem_radius = rng.uniform(0.005, 0.0075)
    base = revolve(
        [
            (0, 0),
            (base_radius, 0),
            (base_radius, 0.004),
            (base_radius * 0.5, 0.007),
            (stem_radius * 1.5, 0.013),
            (0, 0.013),
        ]
    )
    stem = revolve(
        [
            (0, 0.011),
            (stem_radius * 1.5, 0.011),
            (stem_radius, 0.025),
            (stem_radius, stem_height),
            (stem_radius * 1.6, stem_height + 0.012),
            (0, stem_height + 0.012),
        ],
        sections=20,
    )
    mouth = rng.uniform(0.75, 1.0)
    z0 = stem_height + 0.008
    shape = spline(
        [
            (stem_radius * 1.4, 0),
            (radius * 0.75, bowl_height * 0.14),
            (radius, bowl_height * 0.42),
            (radius * mouth, bowl_height),
        ],
        16,
    )
    bowl = vessel(shape + np.array([0, z0]), 0.0025)
    material = rng.choice(("glass", "glass", "steel", "ceramic"))
    stem_tint = "b" if rng.chance(0.2) else "a"
    return [
        PartMesh("bowl", bowl, material),
        PartMesh("stem", stem, material, stem_tint),
        PartMesh("base", base, material, stem_tint),
    ]


def jar(rng: ShapeRng) -> list[PartMesh]:
    """Build a jar whose lid has a knob or none; the latent is its height."""
    radius = rng.uniform(0.038, 0.052)
    height = radius * rng.latent(1.5, 3.0)
    mouth = radius * rng.uniform(0.82, 0.96)
    profile = [
        (0, 0),
        (radius * 0.93, 0),
        (radius, 0.006),
        (radius, height * 0.86),
        (mouth, height),
        (0, height),
    ]
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
    lid = revolve(
        [
            (0, height - 0.004),
            (mouth * 1.1, height - 0.004),
            (mouth * 1.1, height + thick - 0.003),
            (mouth, height + thick),
            (0, height + thick),
        ]
    )
    return [PartMesh("lid", lid, kind, "b"), PartMesh("body", body, material)]


def bowl(rng: ShapeRng) -> list[PartMesh]:
    """Build a bowl with rim and foot; the latent is its depth."""
    radius = rng.uniform(0.065, 0.1)
    height = radius * rng.latent(0.5, 1.0)
    foot, lip = rng.uniform(0.009, 0.014), rng.uniform(0.008, 0.012)
    t = np.radians(np.linspace(15, 90, 10))
    wall = np.stack(
        [radius * np.sin(t), foot + (height - lip - foot) * (1 - np.cos(t)) - 0.002], -1
    )
    wall[-1, 1] = height - lip
    body = vessel(wall, 0.004, sections=44)
    rim = ring(radius - 0.002, height - lip / 2, 0.0036, lip / 2 + 0.0005, sections=44)
    r_foot = radius * rng.uniform(0.42, 0.58)
    # The foot ends on the wall's outside, so that it never shows on the bowl's floor.
    under = spline(np.vstack([[0.0, foot - 0.002], wall[:5]]), 24) + np.array([0, 0.001])
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
    """Build a vase with a narrow neck; the latent is the length of the neck."""
    radius = rng.uniform(0.04, 0.06)
    height = rng.uniform(0.1, 0.15)
    neck_height = rng.latent(0.03, 0.075)
    neck_radius = radius * rng.uniform(0.35, 0.5)
    shape = spline(
        [(radius * 0.55, 0), (radius, height * rng.uniform(0.4, 0.6)), (neck_radius, height)], 14
    )
    body = revolve(np.vstack([[0, 0], shape, [0, height]]))
    lip_z = height + neck_height
    neck_outer = spline(
        [
            (neck_radius, 0),
            (neck_radius * 0.9, neck_height * 0.5),
            (neck_radius * 1.15, neck_height),
        ],
        8,
    )
    neck = vessel(neck_outer + np.array([0, height - 0.001]), 0.0035, sections=32)
    rim = ring(neck_radius * 1.15, lip_z, 0.0055, rng.uniform(0.005, 0.007), sections=32)
    material = rng.choice(("ceramic", "ceramic", "glass"))
    return [
        PartMesh("neck", neck, material),
        PartMesh("rim", rim, material, "b" if rng.chance(0.4) else "a"),
        PartMesh("body", body, material),
    ]


def classes() -> list[ObjectClass]:
    """List the containers of the tabletop level."""
    tip: tuple[str, ...] = ("as_built", "as_built", "as_built", "side")
    turned: tuple[str, ...] = ("as_built", "as_built", "upside_down")
    level: Level = "tabletop"
    return [
        ObjectClass("bottle", bottle, ("body", "neck", "cap"), level, 0.25, ("as_built", "side")),
        ObjectClass("bucket", bucket, ("handle", "rim", "body"), level, 0.26, tip),
        ObjectClass("wine glass", wine_glass, ("bowl", "stem", "base"), level, 0.2, tip),
        ObjectClass("jar", jar, ("lid", "knob", "body"), level, 0.15, tip),
        ObjectClass("bowl", bowl, ("rim", "body", "base"), level, 0.17, turned),
        ObjectClass("vase", vase, ("neck", "rim", "body"), level, 0.2, tip),
    ]
