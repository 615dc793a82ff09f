"""Builders of closed triangle meshes: loft, revolve, sweep, and boolean difference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import trimesh

Points = npt.ArrayLike


def loft(rings: Points, closed: bool = False) -> trimesh.Trimesh:
    """Connect a stack of rings into one closed surface with outward normals.

    Args:
        rings: [S, P, 3] metres; rings s and s + 1 are joined point by point.
        closed: join the last ring to the first instead of capping both ends.
    """
    rings = np.asarray(rings, dtype=np.float64)
    n_rings, n_points, _ = rings.shape
    vertices = rings.reshape(-1, 3)
    s = np.arange(n_rings if closed else n_rings - 1)[:, None]
    p = np.arange(n_points)[None, :]
    a = s * n_points + p
    b = s * n_points + (p + 1) % n_points
    c = (s + 1) % n_rings * n_points + p
    d = (s + 1) % n_rings * n_points + (p + 1) % n_points
    faces = [np.stack([a, b, d], -1).reshape(-1, 3), np.stack([a, d, c], -1).reshape(-1, 3)]
    if not closed:
        first, last = len(vertices), len(vertices) + 1
        vertices = np.vstack([vertices, rings[0].mean(0), rings[-1].mean(0)])
        i = np.arange(n_points)
        j = (i + 1) % n_points
        top = (n_rings - 1) * n_points
        faces.append(np.stack([np.full_like(i, first), j, i], -1))
        faces.append(np.stack([np.full_like(i, last), top + i, top + j], -1))
    triangles = np.vstack(faces)
    corners = vertices[triangles]
    area2 = np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    )
    mesh = trimesh.Trimesh(vertices, triangles[area2 > 1e-12], process=False)
    mesh.merge_vertices()
    if mesh.volume < 0:
        mesh.invert()
    return mesh


def revolve(profile: Points, closed: bool = False, sections: int = 40) -> trimesh.Trimesh:
    """Revolve a profile about the z axis.

    Args:
        profile: [N, 2] points (radius, z), metres.
        closed: join the last point to the first, which makes a ring with a hole.
        sections: number of steps around the axis.
    """
    profile = np.asarray(profile, dtype=np.float64)
    angle = np.linspace(0.0, 2 * np.pi, sections, endpoint=False)
    rings = np.stack(
        [
            profile[:, :1] * np.cos(angle),
            profile[:, :1] * np.sin(angle),
            np.repeat(profile[:, 1:], sections, axis=1),
        ],
        axis=-1,
    )
    return loft(rings, closed=closed)


def spline(points: Points, n: int = 20) -> np.ndarray:
    """Interpolate a smooth curve [n, D] through points [K, D], evenly spaced in chord length."""
    from scipy.interpolate import PchipInterpolator

    points = np.asarray(points, dtype=np.float64)
    steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
    t = np.concatenate([[0.0], np.cumsum(steps)])
    return np.asarray(PchipInterpolator(t, points)(np.linspace(0.0, t[-1], n)))


def arc(
    centre: Sequence[float], radius: float, start: float, stop: float, n: int = 16
) -> np.ndarray:
    """Return points [n, 2] on a circle from angle ``start`` to ``stop`` in degrees."""
    angle = np.radians(np.linspace(start, stop, n))
    return np.stack(
        [centre[0] + radius * np.cos(angle), centre[1] + radius * np.sin(angle)], axis=-1
    )


def sweep(
    path: Points,
    radii: Points,
    sections: int = 12,
    closed: bool = False,
    up: Sequence[float] = (0.0, 0.0, 1.0),
    square: float = 0.0,
) -> trimesh.Trimesh:
    """Sweep an elliptic section along a path.

    Args:
        path: [N, 3] metres.
        radii: scalar, [N], or [N, 2] (across, along `up`) half widths in metres.
        sections: number of points around the section.
        closed: join the end of the path to its start.
        up: the direction the second radius follows; it must not be parallel to the path.
        square: 0 is an ellipse, towards 1 a rounded rectangle.
    """
    path = np.asarray(path, dtype=np.float64)
    radii = np.asarray(radii, dtype=np.float64)
    if radii.ndim < 2:
        radii = np.broadcast_to(radii.reshape(-1, 1), (len(path), 2))
    around = np.vstack([path[-1:], path, path[:1]]) if closed else path
    tangent = np.gradient(around, axis=0)
    if closed:
        tangent = tangent[1:-1]
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    side = np.cross(np.asarray(up, dtype=np.float64), tangent)
    side /= np.linalg.norm(side, axis=1, keepdims=True)
    normal = np.cross(tangent, side)
    angle = np.linspace(0.0, 2 * np.pi, sections, endpoint=False)
    power = 1.0 - 0.75 * square
    cos = np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** power
    sin = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** power
    rings = (
        path[:, None]
        + radii[:, :1, None] * cos[None, :, None] * side[:, None]
        + radii[:, 1:, None] * sin[None, :, None] * normal[:, None]
    )
    return loft(rings, closed=closed)


def slab(
    x: Points, lower: Points, upper: Points, thickness: Points, z: Points = 0.0, edge: float = 0.35
) -> trimesh.Trimesh:
    """Build a plate along x with the outline y = lower(x) and y = upper(x).

    Args:
        x: [N] metres.
        lower: scalar or [N], y of the lower edge.
        upper: scalar or [N], y of the upper edge.
        thickness: scalar or [N].
        z: scalar or [N], height of the middle plane.
        edge: share of the half width that the bevelled edge takes; small for a plank, near 1 for
            a ground blade.
    """
    x = np.asarray(x, dtype=np.float64)
    low, high, t, mid = (
        np.broadcast_to(np.asarray(v, dtype=np.float64), x.shape)
        for v in (lower, upper, thickness, z)
    )
    bevel = np.minimum(edge * (high - low) / 2, t * 3)
    y = np.stack([low, low + bevel, high - bevel, high, high, high - bevel, low + bevel, low], -1)
    dz = np.stack([-t / 6, -t / 2, -t / 2, -t / 6, t / 6, t / 2, t / 2, t / 6], -1)
    rings = np.stack([np.repeat(x[:, None], 8, 1), y, mid[:, None] + dz], -1)
    return loft(rings)


def box(
    size: Sequence[float], centre: Sequence[float] = (0, 0, 0), bevel: float = 0.0
) -> trimesh.Trimesh:
    """Build a box with side lengths ``size``; ``bevel`` metres are cut off its upright edges."""
    sx, sy, sz = (s / 2 for s in size)
    b = min(bevel, 0.9 * sx, 0.9 * sy)
    if b > 0:
        outline = [
            (-sx, -sy + b), (-sx + b, -sy), (sx - b, -sy), (sx, -sy + b),
            (sx, sy - b), (sx - b, sy), (-sx + b, sy), (-sx, sy - b),
        ]  # fmt: skip
    else:
        outline = [(-sx, -sy), (sx, -sy), (sx, sy), (-sx, sy)]
    rings = [[(px, py, pz) for px, py in outline] for pz in (-sz, sz)]
    return loft(np.asarray(rings) + np.asarray(centre))


def vessel(outer: Points, wall: float, sections: int = 40) -> trimesh.Trimesh:
    """Build an open vessel from its outside profile [N, 2] (radius, z), foot to lip; metres."""
    outer = np.asarray(outer, dtype=np.float64)
    inner = outer.copy()
    inner[:, 0] = np.maximum(inner[:, 0] - wall, wall)
    inner[:, 1] = np.maximum(inner[:, 1], outer[0, 1] + wall)
    inner[-1, 1] = outer[-1, 1]
    profile = np.vstack([[0.0, outer[0, 1]], outer, inner[::-1], [0.0, inner[0, 1]]])
    return revolve(profile, sections=sections)


def ring(
    radius: float, z: float, half_width: float, half_height: float, sections: int = 40
) -> trimesh.Trimesh:
    """Build a ring with an elliptic section about the z axis, such as a rim; metres."""
    angle = np.linspace(0.0, 2 * np.pi, 10, endpoint=False)
    profile = np.stack([radius + half_width * np.cos(angle), z + half_height * np.sin(angle)], -1)
    return revolve(profile, closed=True, sections=sections)


def dish(
    length: float, width: float, depth: float, wall: float, egg: float = 0.0
) -> trimesh.Trimesh:
    """Build an oval dish about the origin, such as the bowl of a spoon; metres.

    Args:
        length: along x.
        width: along y.
        depth: the lip is at z = 0, the lowest point at -depth.
        wall: thickness.
        egg: above 0 makes the end towards +x narrower.
    """
    angle = np.linspace(0.0, 2 * np.pi, 28, endpoint=False)
    ex = np.cos(angle) * length / 2
    ey = np.sin(angle) * width / 2 * (1.0 - egg * np.cos(angle))
    outer = [(s, -depth * (1 - s**2.4)) for s in (0.02, 0.3, 0.55, 0.75, 0.9, 1.0)]
    rings = [np.stack([ex * s, ey * s, np.full_like(ex, z - wall)], -1) for s, z in outer[:-1]]
    rings.append(np.stack([ex, ey, np.full_like(ex, -wall / 2)], -1))
    rings += [np.stack([ex * s, ey * s, np.full_like(ex, z)], -1) for s, z in outer[::-1]]
    return loft(np.asarray(rings))


def rotation(
    degrees: float, axis: Sequence[float], point: Sequence[float] | None = None
) -> np.ndarray:
    """Return the rotation [4, 4] about ``axis`` through ``point`` (default: the origin)."""
    rotation_matrix: Any = trimesh.transformations.rotation_matrix
    return np.asarray(rotation_matrix(np.radians(degrees), axis, point))


def place(
    mesh: trimesh.Trimesh,
    translation: Sequence[float] = (0, 0, 0),
    axis: Sequence[float] = (0, 0, 1),
    degrees: float = 0.0,
) -> trimesh.Trimesh:
    """Rotate a mesh about ``axis`` through the origin, then move it; return the same mesh."""
    transform = rotation(degrees, axis)
    transform[:3, 3] = translation
    mesh.apply_transform(transform)
    return mesh


def join(*meshes: trimesh.Trimesh) -> trimesh.Trimesh:
    """Concatenate several closed pieces into the mesh of one part."""
    return cast(trimesh.Trimesh, trimesh.util.concatenate(list(meshes)))


def cut(mesh: trimesh.Trimesh, *tools: trimesh.Trimesh) -> trimesh.Trimesh:
    """Subtract the tools from a mesh (boolean difference by manifold3d)."""
    solid = trimesh.boolean.difference([mesh, *tools], engine="manifold", check_volume=False)
    return trimesh.Trimesh(solid.vertices, solid.faces, process=False)
