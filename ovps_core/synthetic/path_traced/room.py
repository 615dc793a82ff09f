"""Surroundings of the objects: table, floor, walls, distant boxes, lamps, environment light."""

from __future__ import annotations

import colorsys
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ovps_core.errors import DatasetError, ImageError
from ovps_core.structures.image_files import load_image
from ovps_core.synthetic.path_traced.compose import Composition
from ovps_core.synthetic.path_traced.nodes import Colour, Graph, rgba
from ovps_core.synthetic.path_traced.settings import PathTraceSettings
from ovps_core.synthetic.path_traced.shading import darker
from ovps_core.synthetic.settings import Split

FLOOR_BELOW_TABLE = 0.74
"""Height of the table's top above the floor, metres."""

PATTERNS = ("wood", "planks", "stone", "laminate", "cloth", "checks", "tiles", "speckled")


@lru_cache(maxsize=8)
def pictures(folder: str, split: Split) -> tuple[str, ...]:
    """List the pictures below a folder that a split may use; every fifth is for the test only."""
    if not folder:
        return ()
    names = sorted(
        str(p) for p in Path(folder).rglob("*") if p.suffix.lower() in (".jpg", ".jpeg", ".png")
    )
    return tuple(n for i, n in enumerate(names) if (i % 5 == 0) == (split == "test"))


def build_room(scene: Composition, settings: PathTraceSettings, rng: np.random.Generator) -> None:
    """Add everything but the objects and the camera to Blender's scene."""
    textures = pictures(settings.textures, settings.split)
    ground = 0.0 if scene.large else -FLOOR_BELOW_TABLE
    if not scene.large:
        _add_table(scene, textures, rng)
    _add_box("floor", (12, 12, 0.1), (0, 0, ground - 0.05), _covering(textures, rng, floor=True))
    if scene.wall is not None or rng.random() < 0.65:
        _add_walls(scene, ground, textures, rng)
    if not scene.large:
        _add_distant_boxes(scene, ground, rng)
    _add_lamps(scene, rng)
    _light_world(pictures(settings.photos, settings.split), rng)


def _add_box(name: str, size: Any, centre: Any, material: Any, yaw: float = 0.0) -> Any:
    import bpy

    corners = [(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)]
    faces = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    mesh = bpy.data.meshes.new(name)
    mesh.from_pydata([tuple(np.multiply(c, size)) for c in corners], [], faces)
    mesh.materials.append(material)
    box = bpy.data.objects.new(name, mesh)
    box.location = tuple(float(v) for v in centre)
    box.rotation_euler = (0.0, 0.0, yaw)
    bpy.context.scene.collection.objects.link(box)
    return box


def _add_table(scene: Composition, textures: tuple[str, ...], rng: np.random.Generator) -> None:
    """Add a table with legs that is large enough for the objects."""
    points = np.vstack([p.points for p in scene.placed])[:, :2]
    middle = (points.max(0) + points.min(0)) / 2
    reach = np.ptp(points, axis=0) / 2 + 0.05
    half = np.maximum(rng.uniform((0.35, 0.3), (1.0, 0.7)), reach)
    # Off centre, but large enough for all objects, so that the table's edge is often in the picture.
    middle = middle + rng.uniform(-1, 1, 2) * (half - reach)
    thick = float(rng.uniform(0.018, 0.045))
    top = _covering(textures, rng, floor=False)
    _add_box("table", (*(2 * half), thick), (*middle, -thick / 2), top)
    leg = _plain(_wood_colour(rng), 0.5)
    for sx in (-1, 1):
        for sy in (-1, 1):
            at = middle + (half - 0.05) * (sx, sy)
            height = FLOOR_BELOW_TABLE - thick
            _add_box("leg", (0.05, 0.05, height), (*at, -thick - height / 2), leg)


def _add_walls(
    scene: Composition, ground: float, textures: tuple[str, ...], rng: np.random.Generator
) -> None:
    """Add one to three walls behind and beside the objects; objects with a front stand against one."""
    material = _covering(textures, rng, floor=False, wall=True)
    ahead = scene.camera.pose[:3, 2]
    if scene.wall is not None:
        facing, distance = 0.0, scene.wall
    else:
        # Mostly perpendicular to the view, behind the objects.
        facing = float(np.arctan2(ahead[1], ahead[0])) + float(rng.normal(0, 0.35))
        reach = max(float(np.abs(p.points[:, :2]).max()) for p in scene.placed)
        distance = reach * 1.5 + float(rng.uniform(0.15, 2.2))
    for k, turn in enumerate((0.0, np.pi / 2, -np.pi / 2)[: int(rng.integers(1, 4))]):
        yaw = facing + turn
        away = distance if k == 0 else float(rng.uniform(1.6, 4.0))
        middle = np.array([np.cos(yaw), np.sin(yaw)]) * (away + 0.05)
        _add_box("wall", (0.1, 12, 3.0), (*middle, ground + 1.5), material, yaw)
        if rng.random() < 0.4 and (k > 0 or scene.wall is None):
            _add_frame(yaw, away, ground, rng)


def _add_frame(yaw: float, away: float, ground: float, rng: np.random.Generator) -> None:
    """Add a framed picture or a notice board on a wall."""
    width, height = rng.uniform(0.2, 0.8, 2)
    along = float(rng.uniform(-1.2, 1.2))
    direction, side = np.array([np.cos(yaw), np.sin(yaw)]), np.array([-np.sin(yaw), np.cos(yaw)])
    at = direction * (away - 0.01) + side * along
    centre = (*at, ground + rng.uniform(1.0, 1.8))
    _add_box("picture", (0.02, width, height), centre, _blotches(rng), yaw)


def _add_distant_boxes(scene: Composition, ground: float, rng: np.random.Generator) -> None:
    """Add unlabelled boxes of furniture size on the floor behind the table."""
    ahead = scene.camera.pose[:3, 2]
    facing = float(np.arctan2(ahead[1], ahead[0]))
    for _ in range(int(rng.integers(0, 4))):
        angle = facing + float(rng.uniform(-0.9, 0.9))
        away = float(rng.uniform(1.5, 3.0))
        size = rng.uniform((0.25, 0.25, 0.2), (0.8, 0.8, 1.4))
        at = np.array([np.cos(angle), np.sin(angle)]) * away
        material = _plain(_wood_colour(rng) if rng.random() < 0.5 else _wall_colour(rng), 0.6)
        centre = (*at, ground + size[2] / 2)
        _add_box("box", size, centre, material, float(rng.uniform(0, np.pi)))


def _add_lamps(scene: Composition, rng: np.random.Generator) -> None:
    """Add one to three area lights above and beside the objects, and sometimes the sun."""
    import bpy

    target = np.mean([p.points.mean(0) for p in scene.placed], axis=0)
    scale = 2.2 if scene.large else 1.0
    for k in range(int(rng.integers(1, 4))):
        lamp = bpy.data.lights.new("lamp", "AREA")
        lamp.shape = "RECTANGLE"
        lamp.size, lamp.size_y = (float(v) for v in rng.uniform(0.08, 1.0, 2) * scale)
        azimuth, height = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(25, 85))
        if scene.wall is not None:
            azimuth = np.pi + rng.uniform(-1.2, 1.2)
        away = float(rng.uniform(0.9, 2.2)) * scale
        back = np.array(
            [np.cos(azimuth) * np.cos(height), np.sin(azimuth) * np.cos(height), np.sin(height)]
        )
        lamp.energy = 25.0 * away**2 * float(rng.uniform(0.4, 1.6)) * (1.0, 0.4, 0.2)[k]
        lamp.color = _lamp_colour(rng)
        _aim(bpy.data.objects.new("lamp", lamp), target + back * away, target)
    if rng.random() < 0.25:
        sun = bpy.data.lights.new("sun", "SUN")
        sun.angle = float(np.radians(rng.uniform(0.5, 4.0)))
        sun.energy = float(rng.uniform(1.0, 5.0))
        sun.color = (1.0, 0.95, 0.86)
        azimuth, height = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(25, 65))
        if scene.wall is not None:
            azimuth = np.pi + rng.uniform(-1.0, 1.0)
        back = np.array([np.cos(azimuth), np.sin(azimuth), np.tan(height)])
        _aim(bpy.data.objects.new("sun", sun), target + back * 3, target)


def _aim(lamp: Any, eye: np.ndarray, target: np.ndarray) -> None:
    """Place a lamp at ``eye`` and turn it to the target; lamps shine along their -z axis."""
    import bpy
    from mathutils import Vector

    lamp.location = tuple(float(v) for v in eye)
    lamp.rotation_euler = Vector(target - eye).to_track_quat("-Z", "Y").to_euler()
    bpy.context.scene.collection.objects.link(lamp)


def _lamp_colour(rng: np.random.Generator) -> Colour:
    """Draw a linear colour between a warm bulb and a cool sky; its green is 1."""
    warmth = float(rng.uniform(-0.15, 0.35))
    return (1.0 + 0.6 * warmth, 1.0, 1.0 - 0.9 * warmth)


def _light_world(photos: tuple[str, ...], rng: np.random.Generator) -> None:
    """Set the environment light: a blurred photograph or a gradient, with bright rectangles as windows."""
    import bpy

    height, width = 128, 256
    if photos and rng.random() < 0.75:
        photo = photos[int(rng.integers(len(photos)))]
        try:
            picture = load_image(photo)
        except ImageError as error:
            raise DatasetError(f"{error}; take it out of the folder") from error
        small = cv2.resize(picture, (width // 2, height), interpolation=cv2.INTER_AREA)
        linear: Any = (small.astype(np.float32) / 255) ** 2.2
        # Mirrored, so that both ends match; blurred, so that no object can be recognised.
        linear = np.concatenate([linear, linear[:, ::-1]], axis=1)
        linear = cv2.GaussianBlur(linear, (0, 0), float(rng.uniform(2.5, 6.0)))
    else:
        top, bottom = (np.array(colorsys.hsv_to_rgb(rng.uniform(0, 1), rng.uniform(0, 0.25), v))
                       for v in (rng.uniform(0.5, 1.0), rng.uniform(0.1, 0.5)))  # fmt: skip
        blend = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
        linear = np.repeat(top * (1 - blend) + bottom * blend, width, 1).astype(np.float32)
    for _ in range(int(rng.integers(0, 4))):
        y, x = int(rng.uniform(0.1, 0.45) * height), int(rng.uniform(0, 0.9) * width)
        h, w = int(rng.uniform(6, 30)), int(rng.uniform(6, 30))
        linear[y : y + h, x : x + w] += float(rng.uniform(2, 10)) * np.array(_lamp_colour(rng))
    linear = cv2.GaussianBlur(linear, (0, 0), 0.8)
    rows = np.ones((height, width, 4), np.float32)
    rows[..., :3] = linear[::-1]
    image = bpy.data.images.new("surroundings", width, height, float_buffer=True)
    image.colorspace_settings.name = "Linear Rec.709"
    image.pixels.foreach_set(rows.ravel())
    world = bpy.data.worlds.new("room")
    bpy.context.scene.world = world
    # By default Cycles samples a generated picture far more finely, which takes seconds.
    world.cycles.sampling_method = "MANUAL"
    world.cycles.sample_map_resolution = height
    graph = Graph(world)
    colour = graph.add("ShaderNodeTexEnvironment", image=image).outputs["Color"]
    strength = float(np.exp(rng.uniform(np.log(0.15), np.log(1.6))))
    shade = graph.add("ShaderNodeBackground", {"Color": colour, "Strength": strength})
    graph.surface(shade.outputs[0], "ShaderNodeOutputWorld")


def _wood_colour(rng: np.random.Generator) -> Colour:
    return colorsys.hsv_to_rgb(
        rng.uniform(0.05, 0.11), rng.uniform(0.2, 0.65), rng.uniform(0.3, 0.9)
    )


def _wall_colour(rng: np.random.Generator) -> Colour:
    """Draw a wall's colour: mostly white, beige or grey, sometimes dark or coloured."""
    pick = rng.random()
    if pick < 0.6:
        return colorsys.hsv_to_rgb(
            rng.uniform(0.05, 0.6), rng.uniform(0, 0.1), rng.uniform(0.7, 0.95)
        )
    if pick < 0.85:
        return colorsys.hsv_to_rgb(
            rng.uniform(0.0, 0.7), rng.uniform(0, 0.2), rng.uniform(0.15, 0.7)
        )
    return colorsys.hsv_to_rgb(rng.uniform(0, 1), rng.uniform(0.2, 0.6), rng.uniform(0.3, 0.85))


def _plain(colour: Colour, roughness: float) -> Any:
    import bpy

    material = bpy.data.materials.new("plain")
    graph = Graph(material)
    graph.surface(graph.principled({"Base Color": rgba(colour), "Roughness": roughness}))
    return material


def _blotches(rng: np.random.Generator) -> Any:
    """Make a material of coloured patches with sharp borders, like a print."""
    import bpy

    material = bpy.data.materials.new("print")
    graph = Graph(material)
    vector = graph.coordinates(rng)
    field = graph.noise(vector, float(rng.uniform(3, 12)), 4.0, 1.0)
    colours = [colorsys.hsv_to_rgb(*rng.uniform((0, 0.1, 0.2), (1, 0.8, 0.95))) for _ in range(4)]
    colour = graph.ramp(field, *zip((0.3, 0.45, 0.55, 0.65), colours, strict=True))
    graph.surface(graph.principled({"Base Color": colour, "Roughness": 0.4}))
    return material


def _covering(
    textures: tuple[str, ...], rng: np.random.Generator, floor: bool, wall: bool = False
) -> Any:
    """Make the material of a table top, floor or wall from a picture or a procedural pattern."""
    import bpy

    from ovps_core.synthetic.path_traced.patterns import paint

    material = bpy.data.materials.new("covering")
    graph = Graph(material)
    if textures and rng.random() < 0.35:
        picture = bpy.data.images.load(
            textures[int(rng.integers(len(textures)))], check_existing=True
        )
        metres = float(rng.uniform(0.4, 1.4)) * (1.6 if floor or wall else 1.0)
        vector = graph.coordinates(rng, (1 / metres,) * 3)
        if wall:
            vector = _upright(graph, metres)
        colour = graph.picture(picture, vector)
        inputs = {"Base Color": colour, "Roughness": float(rng.uniform(0.2, 0.7))}
    elif wall and rng.random() < 0.75:
        bumps = graph.noise(graph.coordinates(rng), float(rng.uniform(20, 150)), 3.0)
        inputs = {
            "Base Color": rgba(_wall_colour(rng)), "Roughness": 0.8,
            "Normal": graph.bump(bumps, float(rng.uniform(0, 1.0))),
        }  # fmt: skip
    else:
        allowed = ("planks", "tiles", "stone", "cloth", "laminate") if floor else PATTERNS
        pattern = ("tiles", "laminate")[int(rng.integers(2))] if wall else str(rng.choice(allowed))
        wood = _wood_colour(rng) if rng.random() < 0.8 else darker(_wall_colour(rng), 0.9)
        inputs = paint(graph, pattern, wood, _wall_colour(rng), floor, rng)
        if wall and pattern == "tiles":
            inputs.pop("Normal", None)
    graph.surface(graph.principled(inputs))
    return material


def _upright(graph: Graph, metres: float) -> Any:
    """Make texture coordinates (y, z) of a wall, with one repeat per ``metres``."""
    axes = graph.add(
        "ShaderNodeSeparateXYZ", {0: graph.add("ShaderNodeTexCoord").outputs["Object"]}
    )
    joined = graph.add("ShaderNodeCombineXYZ", {0: axes.outputs["Y"], 1: axes.outputs["Z"]})
    return graph.add(
        "ShaderNodeMapping", {"Vector": joined.outputs[0], "Scale": (1 / metres,) * 3}
    ).outputs[0]
