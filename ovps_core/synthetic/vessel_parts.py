"""Parts that several vessels share: side handle, lid with knob, hollow spout."""

from __future__ import annotations

import numpy as np
import trimesh

from ovps_core.synthetic.meshes import arc, cut, revolve, spline, sweep
from ovps_core.synthetic.object_class import ShapeRng


def radius_at(profile: np.ndarray, z: float) -> float:
    """Interpolate the radius of a profile [N, 2] (radius, z) at height ``z``."""
    order = np.argsort(profile[:, 1], kind="stable")
    return float(np.interp(z, profile[order, 1], profile[order, 0]))


def side_handle(
    profile: np.ndarray, low: float, high: float, reach: float, thick: float, rng: ShapeRng
) -> trimesh.Trimesh:
    """Build a C- or D-shaped handle in the xz plane between two heights of a vessel's wall.

    Args:
        profile: [N, 2] outside profile (radius, z) of the vessel, metres.
        low: height of the lower joint.
        high: height of the upper joint.
        reach: distance from the wall.
        thick: half thickness.
        rng: draws its shape.
    """
    r_low, r_high = radius_at(profile, low), radius_at(profile, high)
    out = max(r_low, r_high) + reach
    mid = (low + high) / 2
    span = high - low
    inset = 0.0025
    if rng.chance(0.65):
        points = [
            (r_high - inset, high), (out - reach * 0.35, high), (out, mid + span * 0.2),
            (out, mid - span * 0.15), (out - reach * 0.4, low), (r_low - inset, low),
        ]  # fmt: skip
    else:
        points = [
            (r_high - inset, high), (out, high + 0.03 * span), (out, high - 0.12 * span),
            (out - reach * 0.25, mid - span * 0.1), (r_low - inset, low),
        ]  # fmt: skip
    curve = spline(points, 26)
    path = np.stack([curve[:, 0], np.zeros(26), curve[:, 1]], -1)
    flat = rng.uniform(0.65, 1.0)
    radii = np.stack([np.full(26, thick * flat), np.full(26, thick)], -1)
    return sweep(path, radii, sections=12, up=(0, 1, 0), square=rng.uniform(0, 0.6))


def lid_and_knob(
    rng: ShapeRng, radius: float, z: float, dome: float
) -> tuple[trimesh.Trimesh, trimesh.Trimesh]:
    """Build a domed lid for a mouth of this radius at height ``z``, and its knob; metres."""
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
            [
                [0, top],
                [size * 0.85, top],
                [size * 0.95, top + size * 1.3],
                [size * 0.8, top + size * 1.5],
                [0, top + size * 1.5],
            ]
        )
    profile[-1, 0] = 0.0
    return lid, revolve(profile, sections=24)


def hollow_spout(
    profile: np.ndarray, low: float, tip: tuple[float, float], base: float, end: float, neck: bool
) -> trimesh.Trimesh:
    """Build a hollow spout in the -x direction.

    Args:
        profile: [N, 2] outside profile (radius, z) of the vessel, metres.
        low: height at which it leaves the wall.
        tip: distance from the axis, and height, of its end.
        base: radius at the wall.
        end: radius at the tip.
        neck: rise steeply near the wall, as a teapot's spout does.
    """
    r = radius_at(profile, low)
    start = (r - 0.012, low)
    bend = (
        r + (tip[0] - r) * (0.62 if neck else 0.4),
        low + (tip[1] - low) * (0.35 if neck else 0.45),
    )
    curve = spline([start, (start[0] + 0.012, low + 0.004), bend, tip], 18)
    path = np.stack([-curve[:, 0], np.zeros(18), curve[:, 1]], -1)
    radii = spline([(0, base), (0.5, (base + end) * 0.5), (1, end)], 18)[:, 1]
    solid = sweep(path, radii, sections=14, up=(0, 1, 0))
    bore_path = path[9:].copy()
    bore_path = np.vstack([bore_path, bore_path[-1] + (bore_path[-1] - bore_path[-2])])
    bore = sweep(bore_path, np.append(radii[9:], radii[-1]) * 0.68, sections=12, up=(0, 1, 0))
    cavity = revolve(np.vstack([[0, profile[0, 1]], profile - [0.002, 0], [0, profile[-1, 1]]]))
    return cut(solid, bore, cavity)
