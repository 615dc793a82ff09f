"""Parametric things of a home, wild level: furniture, appliances, doors, lamp, laptop, cans and bags."""

from __future__ import annotations

import numpy as np
import trimesh

from ovps_core.data.rendered.meshes import (
    box,
    cut,
    join,
    place,
    revolve,
    ring,
    slab,
    spline,
    sweep,
    vessel,
)
from ovps_core.data.rendered.objects_vessels import side_handle, spout_of
from ovps_core.data.rendered.shape import ObjectClass, PartMesh, ShapeRng


def _bar(
    rng: ShapeRng, face: float, y: float, z: float, length: float, upright: bool
) -> trimesh.Trimesh:
    """A bow handle on a front at x = face that looks towards -x."""
    out, half = rng.uniform(0.03, 0.045), length / 2
    curve = spline([(face + 0.002, -half), (face - out, -half * 0.92), (face - out, half * 0.92), (face + 0.002, half)], 22)
    if upright:
        path = np.stack([curve[:, 0], np.full(22, y), z + curve[:, 1]], -1)
        return sweep(path, rng.uniform(0.009, 0.014), sections=10, up=(0, 1, 0))
    path = np.stack([curve[:, 0], y + curve[:, 1], np.full(22, z)], -1)
    return sweep(path, rng.uniform(0.009, 0.014), sections=10)


def _legs(
    rng: ShapeRng, width: float, depth: float, height: float, thick: float
) -> trimesh.Trimesh:
    splay, taper = rng.uniform(0.0, 0.12), rng.uniform(0.6, 1.0)
    square = rng.choice((0.0, 0.9))
    legs = []
    for sx in (-1, 1):
        for sy in (-1, 1):
            top = np.array([sx * (width / 2 - thick), sy * (depth / 2 - thick), height])
            foot = top * [1 + splay, 1 + splay, 0]
            path = np.stack([foot, (top + foot) / 2, top])
            legs.append(sweep(path, thick * np.array([taper, 0.95, 1.0]), up=(1, 0, 0), square=square))
    return join(*legs)


def chair(rng: ShapeRng) -> list[PartMesh]:
    width, depth = rng.uniform(0.38, 0.46), rng.uniform(0.38, 0.45)
    seat_z, back_h = rng.uniform(0.42, 0.47), rng.latent(0.3, 0.6)
    thick = rng.uniform(0.016, 0.026)
    seat = box((depth, width, rng.uniform(0.025, 0.07)), (0, 0, seat_z), rng.uniform(0.0, 0.08))
    legs = _legs(rng, depth, width, seat_z, thick)
    x = depth / 2 - thick
    posts = [box((thick * 1.6, thick * 1.6, back_h), (x, s * (width / 2 - thick), seat_z + back_h / 2)) for s in (1, -1)]
    if rng.chance(0.5):
        panel = [box((0.02, width - 2 * thick, back_h * 0.55), (x, 0, seat_z + back_h * 0.68))]
    else:
        panel = [box((0.018, width - thick, 0.06), (x, 0, seat_z + back_h * f)) for f in (0.35, 0.65, 0.93)]
    kind = rng.choice(("wood", "wood", "paint", "plastic"))
    seat_kind = rng.choice((kind, kind, "cloth"))
    return [
        PartMesh("seat", seat, seat_kind, "a" if seat_kind == kind else "b"),
        PartMesh("back", join(*posts, *panel), kind),
        PartMesh("leg", legs, rng.choice((kind, kind, "steel")), "a"),
    ]


def stool(rng: ShapeRng) -> list[PartMesh]:
    radius, height = rng.uniform(0.15, 0.19), rng.latent(0.4, 0.78)
    thick = rng.uniform(0.03, 0.06)
    seat = revolve([(0, height), (radius, height), (radius * 1.03, height + thick / 2), (radius * 0.97, height + thick), (0, height + thick)])
    legs = _legs(rng, radius * 1.5, radius * 1.5, height + 0.005, rng.uniform(0.014, 0.02))
    kind = rng.choice(("wood", "paint", "plastic"))
    leg_kind = rng.choice((kind, "steel"))
    return [
        PartMesh("seat", seat, rng.choice((kind, "cloth")), "a"),
        PartMesh("leg", legs, leg_kind, "b"),
    ]


def table(rng: ShapeRng) -> list[PartMesh]:
    width, depth, height = rng.uniform(0.8, 1.3), rng.uniform(0.55, 0.8), rng.latent(0.4, 0.85)
    thick = rng.uniform(0.02, 0.05)
    if rng.chance(0.7):
        top = box((width, depth, thick), (0, 0, height + thick / 2), rng.uniform(0, 0.08))
    else:
        r = depth / 2
        width = depth
        top = revolve([(0, height), (r, height), (r, height + thick), (0, height + thick)], sections=48)
    kind = rng.choice(("wood", "wood", "paint", "glass"))
    legs = _legs(rng, width * 0.94, depth * 0.9, height + 0.002, rng.uniform(0.022, 0.035))
    leg_kind = "steel" if kind == "glass" else rng.choice((kind, "steel"))
    return [PartMesh("top", top, kind), PartMesh("leg", legs, leg_kind, "a" if leg_kind == kind else "b")]


def lamp(rng: ShapeRng) -> list[PartMesh]:
    height, base_r = rng.uniform(0.25, 0.36), rng.uniform(0.06, 0.085)
    base = revolve([(0, 0), (base_r, 0), (base_r, 0.012), (base_r * 0.6, 0.025), (0.014, 0.035), (0, 0.035)])
    shaft = revolve([(0, 0.03), (0.012, 0.03), (rng.uniform(0.007, 0.03), height * 0.4), (0.009, height), (0, height)], sections=20)
    low, high = rng.latent(0.08, 0.15), rng.uniform(0.05, 0.085)
    tall = rng.uniform(0.12, 0.18)
    shade = revolve([(low, height - 0.05), (high, height - 0.05 + tall), (high - 0.003, height - 0.05 + tall), (low - 0.003, height - 0.05)], closed=True)
    spokes = [place(box((2 * (low + high) / 2 - 0.006, 0.004, 0.004), (0, 0, 0)), (0, 0, height - 0.06 + tall / 2), (0, 0, 1), d) for d in (0, 90)]
    kind = rng.choice(("ceramic", "brass", "wood", "steel"))
    return [
        PartMesh("base", base, kind),
        PartMesh("shaft", shaft, kind),
        PartMesh("shade", join(shade, *spokes), rng.choice(("cloth", "paint", "plastic")), "b"),
    ]


def laptop(rng: ShapeRng) -> list[PartMesh]:
    width, depth = rng.uniform(0.29, 0.37), rng.uniform(0.2, 0.25)
    angle = rng.latent(85, 130)
    base = box((depth, width, 0.014), (0, 0, 0.007), 0.008)
    keys = [
        box((depth * 0.08, width * 0.054, 0.003), (-depth * 0.02 + i * depth * 0.1, (j - 6.5) * width * 0.062, 0.0152))
        for i in range(4)
        for j in range(14)
    ]
    lid = box((depth, width, 0.007), (-depth / 2, 0, 0))
    panel = box((depth * 0.88, width * 0.94, 0.002), (-depth / 2, 0, -0.0036))
    for piece in (lid, panel):
        place(piece, (0, 0, 0), (0, 1, 0), angle)
        place(piece, (depth / 2, 0, 0.012))
    kind = rng.choice(("steel", "plastic", "iron"))
    return [
        PartMesh("screen", join(lid, panel), kind),
        PartMesh("keyboard", join(*keys), "plastic", "b"),
        PartMesh("base", base, kind),
    ]


def _hollow_box(size: tuple[float, float, float], wall: float) -> trimesh.Trimesh:
    """A cabinet open towards -x, standing on z = 0."""
    x, y, z = size
    shell = box(size, (0, 0, z / 2))
    return cut(shell, box((x, y - 2 * wall, z - 2 * wall), (-wall, 0, z / 2)))


def _front_door(
    size: tuple[float, float, float], swing: float, window: bool
) -> tuple[trimesh.Trimesh, trimesh.Trimesh | None]:
    """A door panel (thickness, width, height) hinged on its +y side; its window pane if any."""
    t, w, h = size
    panel = box(size, (0, 0, 0))
    pane = None
    if window:
        hole = box((t * 3, w * 0.72, h * 0.62), (0, 0, 0))
        panel = cut(panel, hole)
        pane = place(box((t * 0.4, w * 0.73, h * 0.63)), (0, 0, 0))
    return panel, pane


def _swing(pieces: list[trimesh.Trimesh], hinge: tuple[float, float], degrees: float) -> None:
    turn = trimesh.transformations.rotation_matrix(np.radians(degrees), (0, 0, 1), (*hinge, 0))
    for piece in pieces:
        piece.apply_transform(turn)


def microwave(rng: ShapeRng) -> list[PartMesh]:
    w, d, h = rng.uniform(0.44, 0.52), rng.uniform(0.32, 0.4), rng.latent(0.24, 0.34)
    body = _hollow_box((d, w, h), 0.015)
    panel_w = w * rng.uniform(0.22, 0.28)
    face = -d / 2
    panel = box((0.02, panel_w, h), (face - 0.01, -w / 2 + panel_w / 2, h / 2))
    door_w = w - panel_w
    door, pane = _front_door((0.022, door_w - 0.004, h - 0.006), 0, True)
    centre = (face - 0.011, w / 2 - door_w / 2, h / 2)
    handle = _bar(rng, face - 0.022, w / 2 - door_w + 0.025, h / 2, h * 0.6, True)
    buttons = []
    for i in range(rng.choice((3, 4))):
        for j in range(rng.choice((2, 3))):
            y = -w / 2 + panel_w * (0.28 + 0.24 * j)
            buttons.append(box((0.008, panel_w * 0.16, h * 0.07), (face - 0.022, y, h * (0.15 + 0.12 * i))))
    door, pane = place(door, centre), place(pane, centre)
    _swing([door, pane, handle], (face - 0.011, w / 2), -rng.choice((0.0, 0.0, rng.uniform(15, 75))))
    kind = rng.choice(("steel", "plastic", "paint"))
    return [
        PartMesh("body", join(body, panel), kind),
        PartMesh("door", door, kind, rng.choice(("a", "c"))),
        PartMesh("window", pane, "glass", "d"),
        PartMesh("handle", handle, rng.choice(("steel", "plastic")), "e"),
        PartMesh("button", join(*buttons), "plastic", "b"),
    ]


def oven(rng: ShapeRng) -> list[PartMesh]:
    w, d, h = rng.uniform(0.5, 0.6), rng.uniform(0.45, 0.55), rng.latent(0.55, 0.9)
    body, face = _hollow_box((d, w, h), 0.02), -d / 2
    strip = h * rng.uniform(0.14, 0.2)
    panel = box((0.03, w, strip), (face - 0.015, 0, h - strip / 2))
    door, pane = _front_door((0.03, w - 0.006, h - strip - 0.01), 0, True)
    centre = (face - 0.015, 0, (h - strip) / 2)
    door, pane = place(door, centre), place(pane, centre)
    handle = _bar(rng, face - 0.03, 0, h - strip - h * 0.07, w * 0.7, False)
    count = rng.choice((3, 4, 5))
    size = min(strip * 0.3, w / count * 0.3)
    knobs = [
        place(revolve([(0, 0), (size, 0), (size * 0.85, 0.03), (0, 0.03)], sections=20), (face - 0.029, (k - (count - 1) / 2) * w / (count + 0.5), h - strip / 2), (0, 1, 0), -90)
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
    w, d, h = rng.latent(0.35, 0.75), rng.uniform(0.3, 0.45), rng.uniform(0.5, 0.8)
    body, face = _hollow_box((d, w, h), 0.018), -d / 2
    doors, pulls = [], []
    knob = rng.chance(0.5)
    for sign in (1, -1):
        door = place(box((0.02, w / 2 - 0.004, h - 0.01)), (face - 0.011, sign * w / 4, h / 2))
        z = h * rng.uniform(0.5, 0.75)
        y = sign * 0.04
        if knob:
            pull = place(revolve([(0, 0), (0.009, 0), (0.009, 0.014), (0.018, 0.02), (0.018, 0.03), (0, 0.034)], sections=20), (face - 0.02, y, z), (0, 1, 0), -90)
        else:
            pull = _bar(rng, face - 0.02, y, z, rng.uniform(0.1, 0.18), True)
        _swing([door, pull], (face - 0.011, sign * w / 2), -sign * rng.choice((0.0, 0.0, rng.uniform(10, 80))))
        doors.append(door)
        pulls.append(pull)
    kind = rng.choice(("wood", "wood", "paint"))
    return [
        PartMesh("body", body, kind),
        PartMesh("door", join(*doors), kind, rng.choice(("a", "b"))),
        PartMesh("knob" if knob else "handle", join(*pulls), rng.choice(("brass", "steel", "iron")), "c"),
    ]


def door(rng: ShapeRng) -> list[PartMesh]:
    w, h, t = rng.latent(0.65, 1.0), rng.uniform(1.7, 2.05), 0.04
    opening = box((0.5, w + 0.006, h + 0.006), (0, 0, h / 2))
    frame = cut(box((0.1, w + 0.16, h + 0.08), (0, 0, (h + 0.08) / 2)), opening)
    panel = place(box((t, w, h)), (0, 0, h / 2))
    inset = [box((0.012, w * 0.6, h * f), (-t / 2, 0, h * z)) for f, z in ((0.3, 0.72), (0.36, 0.28))]
    y, z = -w / 2 + 0.07, h * 0.48
    plate = box((0.01, 0.045, 0.16), (-t / 2 - 0.004, y, z))
    if rng.chance(0.6):
        path = [[-t / 2, y, z], [-t / 2 - 0.045, y, z], [-t / 2 - 0.05, y + 0.03, z], [-t / 2 - 0.05, y + 0.12, z]]
        pull, part = sweep(spline(path, 16), 0.011), "handle"
    else:
        pull = place(revolve([(0, 0), (0.012, 0), (0.012, 0.025), (0.03, 0.035), (0.034, 0.05), (0.02, 0.066), (0, 0.068)]), (-t / 2, y, z), (0, 1, 0), -90)
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
    w, d, h = rng.uniform(0.5, 0.65), rng.uniform(0.5, 0.6), rng.latent(1.1, 1.8)
    body, face = box((d, w, h), (0, 0, h / 2)), -d / 2
    split = rng.uniform(0.62, 0.75) * h
    doors = [box((0.05, w - 0.006, split - 0.01), (face - 0.026, 0, split / 2)), box((0.05, w - 0.006, h - split - 0.01), (face - 0.026, 0, (h + split) / 2))]
    y = -w / 2 + 0.06
    handles = [_bar(rng, face - 0.05, y, split * 0.72, split * 0.3, True), _bar(rng, face - 0.05, y, split + (h - split) * 0.4, (h - split) * 0.45, True)]
    kind = rng.choice(("steel", "paint", "enamel"))
    return [
        PartMesh("body", body, kind),
        PartMesh("door", join(*doors), kind),
        PartMesh("handle", join(*handles), rng.choice(("steel", "plastic")), "b"),
    ]


def faucet(rng: ShapeRng) -> list[PartMesh]:
    height, reach = rng.latent(0.13, 0.27), rng.uniform(0.12, 0.18)
    base = revolve([(0, 0), (0.032, 0), (0.032, 0.01), (0.022, 0.02), (0.02, 0.06), (0, 0.06)])
    curve = spline([(0, 0.05), (0, height * 0.8), (-reach * 0.35, height * 1.1), (-reach * 0.9, height * 0.95), (-reach, height * 0.7)], 26)
    spout = sweep(np.stack([curve[:, 0], np.zeros(26), curve[:, 1]], -1), rng.uniform(0.011, 0.014), up=(0, 1, 0))
    handles = []
    for sign in (1, -1) if rng.chance(0.5) else (1,):
        stem = sweep([[0, sign * 0.01, 0.045], [0, sign * 0.04, 0.05], [0, sign * 0.05, 0.055]], 0.011)
        lever = sweep([[0, sign * 0.045, 0.05], [0, sign * 0.075, 0.07], [0, sign * 0.115, 0.08]], [0.009, 0.008, 0.01], up=(1, 0, 0))
        handles += [stem, lever]
    kind = rng.choice(("steel", "steel", "brass", "iron"))
    return [
        PartMesh("base", base, kind),
        PartMesh("spout", spout, kind),
        PartMesh("handle", join(*handles), kind),
    ]


def classes() -> list[ObjectClass]:
    """The wild level's furniture, appliances and fittings."""
    up, level = ("as_built",), "wild"
    return [
        ObjectClass("chair", chair, ("seat", "back", "leg"), level, 0.95, up, faces=True),
        ObjectClass("stool", stool, ("seat", "leg"), level, 0.7, up),
        ObjectClass("table", table, ("top", "leg"), level, 1.2, up),
        ObjectClass("lamp", lamp, ("base", "shaft", "shade"), level, 0.45, up),
        ObjectClass("laptop", laptop, ("screen", "keyboard", "base"), level, 0.35, up, faces=True),
        ObjectClass(
            "microwave", microwave, ("body", "door", "window", "handle", "button"), level, 0.5, up,
            faces=True,
        ),
        ObjectClass(
            "oven", oven, ("body", "door", "window", "handle", "knob"), level, 0.8, up, faces=True
        ),
        ObjectClass(
            "cabinet", cabinet, ("body", "door", "knob", "handle"), level, 0.8, up, faces=True
        ),
        ObjectClass("door", door, ("panel", "frame", "handle", "knob"), level, 2.0, up, faces=True),
        ObjectClass("fridge", fridge, ("body", "door", "handle"), level, 1.6, up, faces=True),
        ObjectClass("faucet", faucet, ("base", "spout", "handle"), level, 0.3, up),
    ]  # fmt: skip
