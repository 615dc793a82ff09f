"""Parametric objects with doors of the wild level: microwave, oven, cabinet, door, fridge."""

from __future__ import annotations

import numpy as np
import trimesh

from ovps_core.synthetic.meshes import box, cut, join, place, revolve, rotation, spline, sweep
from ovps_core.synthetic.object_class import ObjectClass, PartMesh, ShapeRng
from ovps_core.synthetic.settings import Level


def _bar(
    rng: ShapeRng, face: float, y: float, z: float, length: float, upright: bool
) -> trimesh.Trimesh:
    """Build a bow handle on a front at x = ``face`` that looks towards -x."""
    out, half = rng.uniform(0.03, 0.045), length / 2
    curve = spline(
        [
            (face + 0.002, -half),
            (face - out, -half * 0.92),
            (face - out, half * 0.92),
            (face + 0.002, half),
        ],
        22,
    )
    if upright:
        path = np.stack([curve[:, 0], np.full(22, y), z + curve[:, 1]], -1)
        return sweep(path, rng.uniform(0.009, 0.014), sections=10, up=(0, 1, 0))
    path = np.stack([curve[:, 0], y + curve[:, 1], np.full(22, z)], -1)
    return sweep(path, rng.uniform(0.009, 0.014), sections=10)


def _hollow_box(size: tuple[float, float, float], wall: float) -> trimesh.Trimesh:
    """Build a box that is open towards -x and stands on z = 0."""
    x, y, z = size
    shell = box(size, (0, 0, z / 2))
    return cut(shell, box((x, y - 2 * wall, z - 2 * wall), (-wall, 0, z / 2)))


def _window_door(size: tuple[float, float, float]) -> tuple[trimesh.Trimesh, trimesh.Trimesh]:
    """Build a door panel (thickness, width, height) about the origin, and its window pane."""
    t, w, h = size
    panel = cut(box(size), box((t * 3, w * 0.72, h * 0.62)))
    return panel, box((t * 0.4, w * 0.73, h * 0.63))


def _swing(pieces: list[trimesh.Trimesh], hinge: tuple[float, float], degrees: float) -> None:
    turn = rotation(degrees, (0, 0, 1), (*hinge, 0))
    for piece in pieces:
        piece.apply_transform(turn)


def microwave(rng: ShapeRng) -> list[PartMesh]:
    """Build a microwave whose door is shut or open; the latent is its height."""
    w, d, h = rng.uniform(0.44, 0.52), rng.uniform(0.32, 0.4), rng.latent(0.24, 0.34)
    body = _hollow_box((d, w, h), 0.015)
    panel_w = w * rng.uniform(0.22, 0.28)
    face = -d / 2
    panel = box((0.02, panel_w, h), (face - 0.01, -w / 2 + panel_w / 2, h / 2))
    door_w = w - panel_w
    door, pane = _window_door((0.022, door_w - 0.004, h - 0.006))
    centre = (face - 0.011, w / 2 - door_w / 2, h / 2)
    handle = _bar(rng, face - 0.022, w / 2 - door_w + 0.025, h / 2, h * 0.6, True)
    buttons = []
    for i in range(rng.choice((3, 4))):
        for j in range(rng.choice((2, 3))):
            y = -w / 2 + panel_w * (0.28 + 0.24 * j)
            buttons.append(
                box((0.008, panel_w * 0.16, h * 0.07), (face - 0.022, y, h * (0.15 + 0.12 * i)))
            )
    door, pane = place(door, centre), place(pane, centre)
    _swing(
        [door, pane, handle], (face - 0.011, w / 2), -rng.choice((0.0, 0.0, rng.uniform(15, 75)))
    )
    kind = rng.choice(("steel", "plastic", "paint"))
    return [
        PartMesh("body", join(body, panel), kind),
        PartMesh("door", door, kind, rng.choice(("a", "c"))),
        PartMesh("window", pane, "glass", "d"),
        PartMesh("handle", handle, rng.choice(("steel", "plastic")), "e"),
        PartMesh("button", join(*buttons), "plastic", "b"),
    ]


def oven(rng: ShapeRng) -> list[PartMesh]:
    """Build an oven with a row of knobs; the latent is its height."""
    w, d, h = rng.uniform(0.5, 0.6), rng.uniform(0.45, 0.55), rng.latent(0.55, 0.9)
    body, face = _hollow_box((d, w, h), 0.02), -d / 2
    strip = h * rng.uniform(0.14, 0.2)
    panel = box((0.03, w, strip), (face - 0.015, 0, h - strip / 2))
    door, pane = _window_door((0.03, w - 0.006, h - strip - 0.01))
    centre = (face - 0.015, 0, (h - strip) / 2)
    door, pane = place(door, centre), place(pane, centre)
    handle = _bar(rng, face - 0.03, 0, h - strip - h * 0.07, w * 0.7, False)
    count = rng.choice((3, 4, 5))
    size = min(strip * 0.3, w / count * 0.3)
    knobs = [
        place(
            revolve([(0, 0), (size, 0), (size * 0.85, 0.03), (0, 0.03)], sections=20),
            (face - 0.029, (k - (count - 1) / 2) * w / (count + 0.5), h - strip / 2),
            (0, 1, 0),
            -90,
        )
        for k in range(count)
    ]
    kind = rng.choice(("steel", "paint", "enamel"))
    return [
        PartMesh("body", join(body, panel), kind),
        PartMesh("door", door, kind),
        PartMesh("window", pane, "glass", "d"),
        PartMesh("handle", handle, rng.choice(("steel", "plastic")), "e"),
        PartMesh("knob", join(*knobs), rng.choice(("plastic", "steel", "iron")), "b"),
    ]


def cabinet(rng: ShapeRng) -> list[PartMesh]:
    """Build a cabinet with two doors, shut or open; the latent is its width."""
    w, d, h = rng.latent(0.35, 0.75), rng.uniform(0.3, 0.45), rng.uniform(0.5, 0.8)
    body, face = _hollow_box((d, w, h), 0.018), -d / 2
    doors, pulls = [], []
    knob = rng.chance(0.5)
    for sign in (1, -1):
        door = place(box((0.02, w / 2 - 0.004, h - 0.01)), (face - 0.011, sign * w / 4, h / 2))
        z = h * rng.uniform(0.5, 0.75)
        y = sign * 0.04
        if knob:
            pull = place(
                revolve(
                    [(0, 0), (0.009, 0), (0.009, 0.014), (0.018, 0.02), (0.018, 0.03), (0, 0.034)],
                    sections=20,
                ),
                (face - 0.02, y, z),
                (0, 1, 0),
                -90,
            )
        else:
            pull = _bar(rng, face - 0.02, y, z, rng.uniform(0.1, 0.18), True)
        _swing(
            [door, pull],
            (face - 0.011, sign * w / 2),
            -sign * rng.choice((0.0, 0.0, rng.uniform(10, 80))),
        )
        doors.append(door)
        pulls.append(pull)
    kind = rng.choice(("wood", "wood", "paint"))
    return [
        PartMesh("body", body, kind),
        PartMesh("door", join(*doors), kind, rng.choice(("a", "b"))),
        PartMesh(
            "knob" if knob else "handle", join(*pulls), rng.choice(("brass", "steel", "iron")), "c"
        ),
    ]


def door(rng: ShapeRng) -> list[PartMesh]:
    """Build a room door in its frame, shut or open; the latent is its width."""
    w, h, t = rng.latent(0.65, 1.0), rng.uniform(1.7, 2.05), 0.04
    opening = box((0.5, w + 0.006, h + 0.006), (0, 0, h / 2))
    frame = cut(box((0.1, w + 0.16, h + 0.08), (0, 0, (h + 0.08) / 2)), opening)
    panel = place(box((t, w, h)), (0, 0, h / 2))
    inset = [
        box((0.012, w * 0.6, h * f), (-t / 2, 0, h * z)) for f, z in ((0.3, 0.72), (0.36, 0.28))
    ]
    y, z = -w / 2 + 0.07, h * 0.48
    plate = box((0.01, 0.045, 0.16), (-t / 2 - 0.004, y, z))
    if rng.chance(0.6):
        path = [
            [-t / 2, y, z],
            [-t / 2 - 0.045, y, z],
            [-t / 2 - 0.05, y + 0.03, z],
            [-t / 2 - 0.05, y + 0.12, z],
        ]
        pull, part = sweep(spline(path, 16), 0.011), "handle"
    else:
        pull = place(
            revolve(
                [
                    (0, 0),
                    (0.012, 0),
                    (0.012, 0.025),
                    (0.03, 0.035),
                    (0.034, 0.05),
                    (0.02, 0.066),
                    (0, 0.068),
                ]
            ),
            (-t / 2, y, z),
            (0, 1, 0),
            -90,
        )
        part = "knob"
    slab_door = join(panel, *(inset if rng.chance(0.6) else []))
    pull = join(pull, plate)
    _swing([slab_door, pull], (0, w / 2), -rng.choice((0.0, rng.uniform(10, 60))))
    kind = rng.choice(("wood", "paint", "paint"))
    return [
        PartMesh("panel", slab_door, kind, rng.choice(("a", "b"))),
        PartMesh("frame", frame, kind),
        PartMesh(part, pull, rng.choice(("brass", "steel", "iron")), "c"),
    ]


def fridge(rng: ShapeRng) -> list[PartMesh]:
    """Build a fridge with a freezer door above; the latent is its height."""
    w, d, h = rng.uniform(0.5, 0.65), rng.uniform(0.5, 0.6), rng.latent(1.1, 1.8)
    body, face = box((d, w, h), (0, 0, h / 2)), -d / 2
    split = rng.uniform(0.62, 0.75) * h
    doors = [
        box((0.05, w - 0.006, split - 0.01), (face - 0.026, 0, split / 2)),
        box((0.05, w - 0.006, h - split - 0.01), (face - 0.026, 0, (h + split) / 2)),
    ]
    y = -w / 2 + 0.06
    handles = [
        _bar(rng, face - 0.05, y, split * 0.72, split * 0.3, True),
        _bar(rng, face - 0.05, y, split + (h - split) * 0.4, (h - split) * 0.45, True),
    ]
    kind = rng.choice(("steel", "paint", "enamel"))
    return [
        PartMesh("body", body, kind),
        PartMesh("door", join(*doors), kind),
        PartMesh("handle", join(*handles), rng.choice(("steel", "plastic")), "b"),
    ]


def classes() -> list[ObjectClass]:
    """List the objects with doors of the wild level."""
    up: tuple[str, ...] = ("as_built",)
    level: Level = "wild"
    microwave_parts = ("body", "door", "window", "handle", "button")
    oven_parts = ("body", "door", "window", "handle", "knob")
    cabinet_parts = ("body", "door", "knob", "handle")
    door_parts = ("panel", "frame", "handle", "knob")
    return [
        ObjectClass("microwave", microwave, microwave_parts, level, 0.5, up, has_front=True),
        ObjectClass("oven", oven, oven_parts, level, 0.8, up, has_front=True),
        ObjectClass("cabinet", cabinet, cabinet_parts, level, 0.8, up, has_front=True),
        ObjectClass("door", door, door_parts, level, 2.0, up, has_front=True),
        ObjectClass("fridge", fridge, ("body", "door", "handle"), level, 1.6, up, has_front=True),
    ]
