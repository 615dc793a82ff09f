"""Parametric cutlery and other flat tools of the tabletop level, such as knives and scissors."""

from __future__ import annotations

import numpy as np
import trimesh

from ovps_core.synthetic.meshes import box, dish, join, place, slab, spline, sweep
from ovps_core.synthetic.object_class import ObjectClass, PartMesh, ShapeRng

GRIP_MATERIALS = ("wood", "plastic", "plastic", "rubber", "wood")


def grip(
    rng: ShapeRng, length: float, width: float, height: float, x0: float = 0.0, z: float = 0.0
) -> trimesh.Trimesh:
    """Build a hand grip along +x.

    Args:
        rng: draws its profile, bow and section.
        length: metres.
        width: metres, along y.
        height: metres, along z.
        x0: x of its start.
        z: height of its axis.
    """
    style = rng.choice(("straight", "swell", "waist", "pistol"))
    factors = {
        "straight": (0.9, 1.0, 1.0, 1.0, 0.92),
        "swell": (0.8, 1.0, 1.12, 1.0, 0.72),
        "waist": (1.0, 0.8, 0.9, 1.1, 0.95),
        "pistol": (0.85, 0.95, 0.9, 1.0, 1.2),
    }[style]
    t = np.linspace(0.0, 1.0, 16)
    profile = spline(np.stack([np.linspace(0, 1, 5), factors], -1), 16)[:, 1]
    profile[0] *= 0.85
    profile[-1] *= 0.7
    bow = rng.uniform(-0.03, 0.05) * length * np.sin(np.pi * t)
    path = np.stack([x0 + length * t, bow, np.full_like(t, z)], -1)
    radii = np.stack([profile * width / 2, profile * height / 2], -1)
    return sweep(path, radii, sections=14, square=rng.uniform(0.1, 0.7))


def stick(length: float, radius: float, x0: float, z: float = 0.0) -> trimesh.Trimesh:
    """Build a straight round bar along +x from ``x0`` at height ``z``; metres."""
    return sweep([[x0, 0, z], [x0 + length / 2, 0, z], [x0 + length, 0, z]], radius)


def knife(rng: ShapeRng) -> list[PartMesh]:
    """Build a chef, table, cleaver, bread or santoku knife; the latent is the blade's length."""
    blade_length = rng.latent(0.09, 0.21)
    blade_width = rng.uniform(0.022, 0.034) + 0.07 * max(0.0, blade_length - 0.14)
    handle_length = rng.uniform(0.09, 0.125)
    width = rng.uniform(0.022, 0.030)
    kind = rng.choice(("chef", "table", "cleaver", "bread", "santoku"))
    s = np.linspace(0.0, 1.0, 14)
    top = np.full_like(s, blade_width / 2)
    belly = {
        "chef": 1 - s**2.5,
        "table": np.sqrt(np.clip(1 - s**8, 0, 1)) * 0.9,
        "cleaver": np.ones_like(s) * 1.25,
        "bread": np.clip(1 - s**9, 0, 1) * 0.85,
        "santoku": 1 - 0.25 * s**6,
    }[kind]
    if kind in ("santoku", "table"):
        top = blade_width / 2 * (1 - 0.95 * s**7)
    bottom = blade_width / 2 - blade_width * np.clip(belly, 0.04, None)
    bottom = np.minimum(bottom, top - 0.001)
    blade = slab(-blade_length * s, bottom, top, 0.0035, edge=0.8)
    handle = grip(rng, handle_length, width, rng.uniform(0.014, 0.02), x0=-0.002)
    forged = kind == "table" and rng.chance(0.6)
    material = "steel" if forged else rng.choice(GRIP_MATERIALS)
    return [PartMesh("handle", handle, material, "b"), PartMesh("blade", blade, "steel")]


def _flat_handle(rng: ShapeRng, length: float, z: float) -> trimesh.Trimesh:
    """Build the metal handle of a spoon or a fork: thin, wide at its end, slightly arched."""
    s = np.linspace(0.0, 1.0, 14)
    half = spline([[0, 0.0035], [0.3, 0.004], [0.8, rng.uniform(0.008, 0.012)], [1, 0.006]], 14)
    arch = z * (1 - s) ** 2 + rng.uniform(0.002, 0.006) * np.sin(np.pi * s)
    return slab(length * s, -half[:, 1], half[:, 1], 0.0045, arch, edge=0.5)


def _cutlery_handle(rng: ShapeRng, length: float, lift: float) -> PartMesh:
    if rng.chance(0.55):
        return PartMesh("handle", _flat_handle(rng, length, lift), "steel")
    material = rng.choice(("wood", "plastic"))
    mesh = grip(rng, length, rng.uniform(0.012, 0.017), rng.uniform(0.009, 0.013), z=lift)
    return PartMesh("handle", mesh, material, "b")


def fork(rng: ShapeRng) -> list[PartMesh]:
    """Build a fork with three or four tines; the latent is the width of its head."""
    n_tines = rng.choice((3, 4, 4))
    width = rng.latent(0.022, 0.036)
    root, tine = rng.uniform(0.022, 0.032), rng.uniform(0.04, 0.055)
    lift = 0.010
    pieces = []
    s = np.linspace(0, 1, 8)
    half = 0.003 + (width / 2 - 0.003) * np.sin(s * np.pi / 2) ** 1.5
    pieces.append(slab(-root * s, -half, half, 0.004, lift * (1 - s)))
    gap = width / (n_tines * 2 - 1)
    for i in range(n_tines):
        y = -width / 2 + 2 * i * gap
        z = 0.012 * s**2
        taper = gap * (1 - 0.5 * s) / 2
        mid = y + gap / 2
        pieces.append(slab(-root - tine * s + 0.001, mid - taper, mid + taper, 0.0035, z))
    handle = _cutlery_handle(rng, rng.uniform(0.10, 0.13), lift)
    return [handle, PartMesh("head", join(*pieces), "steel")]


def spoon(rng: ShapeRng) -> list[PartMesh]:
    """Build a spoon; the latent is the width of its bowl."""
    length = rng.uniform(0.05, 0.075)
    width = length * rng.latent(0.55, 0.85)
    depth = rng.uniform(0.008, 0.014)
    bowl = place(
        dish(length, width, depth, 0.002, egg=rng.uniform(-0.15, 0.15)), (-length / 2, 0, 0)
    )
    handle = _cutlery_handle(rng, rng.uniform(0.10, 0.15), 0.001)
    if handle.material == "wood":
        return [handle, PartMesh("bowl", bowl, "wood", "b")]
    return [handle, PartMesh("bowl", bowl, "steel")]


def ladle(rng: ShapeRng) -> list[PartMesh]:
    """Build a ladle; the latent is the radius of its bowl."""
    radius = rng.latent(0.032, 0.055)
    depth = radius * rng.uniform(0.7, 1.0)
    material = rng.choice(("steel", "plastic", "enamel", "wood"))
    bowl = place(dish(2 * radius, 2 * radius, depth, 0.003), (-radius, 0, 0))
    length = rng.uniform(0.18, 0.24)
    path = spline(
        [[-0.002, 0, -0.002], [0.025, 0, 0.018], [length, 0, rng.uniform(0.03, 0.07)]], 14
    )
    radii = np.stack([np.linspace(0.006, 0.010, 14), np.linspace(0.004, 0.006, 14)], -1)
    handle = sweep(path, radii)
    if rng.chance(0.5):
        return [PartMesh("handle", handle, material), PartMesh("bowl", bowl, material)]
    other = rng.choice(GRIP_MATERIALS)
    return [PartMesh("handle", handle, other, "b"), PartMesh("bowl", bowl, material)]


def spatula(rng: ShapeRng) -> list[PartMesh]:
    """Build a spatula, slotted or plain; the latent is the width of its blade."""
    width = rng.latent(0.055, 0.095)
    length = rng.uniform(0.075, 0.11)
    s = np.linspace(0, 1, 10)
    half = np.maximum(width / 2 * np.sin(np.clip(s * 4, 0, 1) * np.pi / 2) ** 0.7, 0.006)
    half *= 1 - rng.uniform(0.0, 0.25) * s
    z = 0.018 * (1 - s) ** 2
    slots = rng.choice((1, 1, 3, 4))
    pieces = [slab(-length * s[:4], -half[:4], half[:4], 0.003, z[:4])]
    lanes = 2 * slots - 1
    for i in range(slots):
        low = -half[3:] + 2 * half[3:] * (2 * i) / lanes
        high = -half[3:] + 2 * half[3:] * (2 * i + 1) / lanes
        pieces.append(slab(-length * s[3:], low, high, 0.003, z[3:], edge=0.1))
    if slots > 1:
        pieces.append(slab(-length * s[-2:], -half[-2:], half[-2:], 0.003, z[-2:], edge=0.05))
    handle_length = rng.uniform(0.15, 0.2)
    slope = rng.uniform(0.02, 0.06)
    handle = grip(rng, handle_length, rng.uniform(0.018, 0.026), 0.012)
    place(handle, (-0.004, 0, 0.018), (0, 1, 0), -np.degrees(slope / handle_length))
    material = rng.choice(("steel", "plastic", "plastic", "wood"))
    kind = material if material == "wood" else rng.choice(GRIP_MATERIALS)
    tint = "a" if kind == material else "b"
    return [PartMesh("handle", handle, kind, tint), PartMesh("blade", join(*pieces), material)]


def scissors(rng: ShapeRng) -> list[PartMesh]:
    """Build a pair of scissors, open by a random angle; the latent is the blades' length."""
    opening = rng.uniform(6, 26)
    blade_length = rng.latent(0.085, 0.15)
    loop = rng.uniform(0.016, 0.021)
    thick = rng.uniform(0.0042, 0.0055)
    reach = rng.uniform(0.045, 0.06)
    handles, blades = [], []
    s = np.linspace(0.0, 1.0, 10)
    for sign, z in ((1.0, 0.004), (-1.0, 0.0075)):
        width = 0.018 * (1 - s**1.8) + 0.0012
        low, high = (-0.004 + 0 * s, width - 0.004) if sign > 0 else (0.004 - width, 0.004 + 0 * s)
        blade = slab(-blade_length * s + 0.012, low, high, 0.003, z, edge=0.5)
        angle = np.linspace(0, 2 * np.pi, 22, endpoint=False)
        centre = (reach, -sign * (loop * 0.85))
        ring_path = np.stack(
            [
                centre[0] + loop * 1.25 * np.cos(angle),
                centre[1] + loop * 0.8 * np.sin(angle),
                0 * angle + z,
            ],
            -1,
        )
        bow = sweep(ring_path, thick, closed=True, sections=8)
        arm = sweep(
            [
                [0.01, 0, z],
                [reach / 3, -sign * 0.004, z],
                [reach - loop * 1.1, -sign * loop * 0.6, z],
            ],
            thick,
        )
        for piece in (blade, bow, arm):
            place(piece, (0, 0, 0), (0, 0, 1), sign * opening / 2)
        blades.append(blade)
        handles += [bow, arm]
    material = rng.choice(("plastic", "plastic", "plastic", "steel"))
    return [
        PartMesh("handle", join(*handles), material, "b"),
        PartMesh("blade", join(*blades), "steel"),
    ]


def brush(rng: ShapeRng) -> list[PartMesh]:
    """Build a paint brush or a dish brush; the latent is the width or length of its head."""
    if rng.chance(0.55):
        width = rng.latent(0.03, 0.075)
        depth = rng.uniform(0.012, 0.02)
        head = box((0.035, width, depth), (-0.0175, 0, 0))
        s = np.linspace(0, 1, 6)
        length = rng.uniform(0.04, 0.06)
        flare = width / 2 * (0.95 + 0.1 * s)
        hair = slab(-0.034 - length * s, -flare, flare, depth * (0.85 - 0.55 * s), edge=0.1)
        neck = sweep(
            [[-0.002, 0, 0], [0.02, 0, 0], [0.045, 0, 0]],
            [[width / 2, depth / 2], [width * 0.3, depth * 0.45], [0.009, 0.007]],
            square=0.5,
        )
        handle = join(neck, grip(rng, rng.uniform(0.09, 0.13), 0.024, 0.014, x0=0.03))
        head_material = rng.choice(("steel", "brass"))
        return [
            PartMesh("handle", handle, rng.choice(("wood", "plastic")), "b"),
            PartMesh("head", head, head_material),
            PartMesh("bristles", hair, "bristle", "c"),
        ]
    length, width = rng.latent(0.06, 0.12), rng.uniform(0.035, 0.055)
    block = place(box((length, width, 0.016), bevel=0.012), (-length / 2, 0, 0))
    tuft_height = rng.uniform(0.022, 0.032)
    hair = box(
        (length * 0.92, width * 0.9, tuft_height), (-length / 2, 0, -0.007 - tuft_height / 2), 0.012
    )
    place(hair, (0, 0, 0.0))
    handle = grip(rng, rng.uniform(0.11, 0.16), 0.024, 0.015, x0=-0.004)
    kind = rng.choice(("wood", "plastic"))
    return [
        PartMesh("handle", handle, kind, "b"),
        PartMesh("head", block, kind, "b"),
        PartMesh("bristles", hair, "bristle", "c"),
    ]


def classes() -> list[ObjectClass]:
    """List the flat-lying classes of the tabletop level."""
    flat = ("settled",)
    return [
        ObjectClass("knife", knife, ("handle", "blade"), "tabletop", 0.28, flat),
        ObjectClass("fork", fork, ("handle", "head"), "tabletop", 0.2, flat),
        ObjectClass("spoon", spoon, ("handle", "bowl"), "tabletop", 0.19, flat),
        ObjectClass("ladle", ladle, ("handle", "bowl"), "tabletop", 0.3, ("settled", "side")),
        ObjectClass("spatula", spatula, ("handle", "blade"), "tabletop", 0.3, flat),
        ObjectClass("scissors", scissors, ("handle", "blade"), "tabletop", 0.2, flat),
        ObjectClass(
            "brush", brush, ("handle", "head", "bristles"), "tabletop", 0.22, ("settled", "lying")
        ),
    ]
