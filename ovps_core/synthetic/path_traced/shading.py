"""Cycles materials for each kind of ``materials.MATERIAL_KINDS``."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np

from ovps_core.synthetic.path_traced.nodes import Colour, Graph, rgba
from ovps_core.synthetic.path_traced.object_models import Finish

# Lowest and highest roughness; metals are marked by their share of metal.
_ROUGHNESS: dict[str, tuple[float, float]] = {
    "steel": (0.12, 0.42), "iron": (0.35, 0.6), "brass": (0.15, 0.4), "zinc": (0.3, 0.5),
    "wood": (0.35, 0.7), "plastic": (0.18, 0.6), "rubber": (0.6, 0.9), "ceramic": (0.04, 0.35),
    "enamel": (0.08, 0.3), "glass": (0.0, 0.08), "bristle": (0.8, 0.95), "paint": (0.3, 0.65),
    "cloth": (0.85, 1.0),
}  # fmt: skip
_METAL = {"steel": 1.0, "iron": 0.85, "brass": 1.0, "zinc": 1.0}


def add_material(finish: Finish, name: str, label: int, size: float) -> Any:
    """Add a Blender material for a finish.

    Args:
        label: its pass index, which the label picture shows.
        size: the object's largest side in metres, for patterns that scale with it.
    """
    import bpy

    rng = np.random.default_rng(finish.seed)
    material = bpy.data.materials.new(name)
    material.pass_index = label
    graph = Graph(material)
    graph.surface(_shader(graph, finish, rng, size))
    return material


def darker(colour: Colour, factor: float) -> Colour:
    """Multiply an sRGB colour by a factor and clip it to [0, 1]."""
    return tuple(float(np.clip(c * factor, 0, 1)) for c in colour)  # type: ignore[return-value]


def _shader(graph: Graph, finish: Finish, rng: np.random.Generator, size: float) -> Any:
    kind = finish.kind
    low, high = _ROUGHNESS[kind]
    roughness = float(rng.uniform(low, high))
    inputs: dict[str, Any] = {"Roughness": roughness, "Metallic": _METAL.get(kind, 0.0)}
    if finish.texture:
        inputs["Base Color"] = _scanned_colour(graph, finish)
        inputs["Metallic"] = 0.35 if kind == "zinc" else 0.0
        inputs["Roughness"] = float(rng.uniform(0.25, 0.6))
        return graph.principled(inputs)
    if kind == "glass":
        return _glass(graph, finish.colour, roughness)
    vector = graph.coordinates(rng)
    inputs["Base Color"] = rgba(finish.colour)
    if kind in ("wood", "cloth", "bristle"):
        _fibres(graph, finish, inputs, rng)
    elif kind in _METAL:
        _metal(graph, finish, inputs, vector, roughness, rng)
    else:
        _glazed(graph, finish, inputs, vector, rng)
    if finish.printed:
        inputs["Base Color"] = _printed(graph, inputs["Base Color"], size, rng)
    return graph.principled(inputs)


def _scanned_colour(graph: Graph, finish: Finish) -> Any:
    """Shift hue, saturation and value of the scan's texture."""
    import bpy

    colour = graph.picture(bpy.data.images.load(finish.texture, check_existing=True))
    hue, saturation, value = finish.shift
    node = graph.add(
        "ShaderNodeHueSaturation",
        {"Hue": (0.5 + hue) % 1.0, "Saturation": saturation, "Value": value, "Color": colour},
    )
    return node.outputs["Color"]


def _glass(graph: Graph, colour: Colour, roughness: float) -> Any:
    """Make glass; shadow rays pass through it, because refracted light is not traced to lamps."""
    tint = tuple(1.0 - 0.6 * (1.0 - c) for c in rgba(colour)[:3])
    clear = graph.principled(
        {
            "Base Color": (*tint, 1.0), "Roughness": roughness, "IOR": 1.47,
            "Transmission Weight": 1.0,
        }
    )  # fmt: skip
    through = graph.add(
        "ShaderNodeBsdfTransparent", {"Color": (*(0.85 * t for t in tint), 1.0)}
    ).outputs[0]
    path = graph.add("ShaderNodeLightPath").outputs["Is Shadow Ray"]
    return graph.add("ShaderNodeMixShader", {0: path, 1: clear, 2: through}).outputs[0]


def _fibres(graph: Graph, finish: Finish, inputs: dict[str, Any], rng: np.random.Generator) -> None:
    """Add wood grain, cloth weave or bristles: noise that is stretched along one direction."""
    if finish.kind == "wood":
        along = graph.coordinates(rng, (6.0, 60.0, 60.0))
        grain = graph.noise(along, float(rng.uniform(0.8, 2.0)), 4.0, float(rng.uniform(0, 1.5)))
        inputs["Base Color"] = graph.ramp(
            grain,
            (0.3, darker(finish.colour, rng.uniform(0.5, 0.75))),
            (0.5, finish.colour),
            (0.7, darker(finish.colour, rng.uniform(1.05, 1.2))),
        )
        inputs["Normal"] = graph.bump(grain, 0.15)
        if rng.random() < 0.4:
            inputs["Coat Weight"] = float(rng.uniform(0.2, 0.8))
        return
    fine = (400.0, 400.0, 400.0) if finish.kind == "cloth" else (900.0, 900.0, 60.0)
    threads = graph.noise(graph.coordinates(rng, fine), 1.0, 1.0)
    inputs["Base Color"] = graph.ramp(
        threads, (0.3, darker(finish.colour, 0.6)), (0.7, darker(finish.colour, 1.1))
    )
    inputs["Normal"] = graph.bump(threads, 0.5)


def _metal(
    graph: Graph,
    finish: Finish,
    inputs: dict[str, Any],
    vector: Any,
    roughness: float,
    rng: np.random.Generator,
) -> None:
    """Add uneven polish, brushing lines, or the grain of cast iron."""
    smears = graph.noise(vector, float(rng.uniform(15, 60)), 3.0)
    inputs["Roughness"] = graph.between(smears, max(0.05, roughness * 0.75), roughness * 1.25)
    if finish.kind == "iron":
        inputs["Normal"] = graph.bump(graph.noise(vector, 900.0, 2.0), 0.12)
    elif rng.random() < 0.4:
        lines = graph.noise(graph.coordinates(rng, (40.0, 2500.0, 2500.0)), 1.0, 1.0)
        inputs["Normal"] = graph.bump(lines, 0.02, 0.6)
        inputs["Anisotropic"] = float(rng.uniform(0.2, 0.7))


def _glazed(
    graph: Graph,
    finish: Finish,
    inputs: dict[str, Any],
    vector: Any,
    rng: np.random.Generator,
) -> None:
    """Add speckles, grain or a clear coat to plastic, rubber, paint, ceramic and enamel."""
    if finish.kind in ("ceramic", "enamel") and rng.random() < 0.3:
        dots = graph.noise(vector, float(rng.uniform(250, 700)), 1.0)
        inputs["Base Color"] = graph.ramp(
            dots,
            (0.3, darker(finish.colour, rng.uniform(0.3, 0.6))),
            (float(rng.uniform(0.36, 0.44)), finish.colour),
        )
    if finish.kind in ("plastic", "rubber") and rng.random() < 0.4:
        grain = graph.noise(vector, float(rng.uniform(800, 2000)), 1.0)
        inputs["Normal"] = graph.bump(grain, 0.06, 0.7)
    if finish.kind in ("plastic", "ceramic", "enamel", "paint") and rng.random() < 0.5:
        inputs["Coat Weight"] = float(rng.uniform(0.3, 1.0))
        inputs["Coat Roughness"] = float(rng.uniform(0.02, 0.15))


def _printed(graph: Graph, base: Any, size: float, rng: np.random.Generator) -> Any:
    """Print a band or a label with text-like lines around the object's z axis."""
    position = graph.add("ShaderNodeTexCoord").outputs["Generated"]
    axes = graph.add("ShaderNodeSeparateXYZ", {0: position})
    bottom, top = sorted(rng.uniform(0.1, 0.9, 2))
    top = max(top, bottom + 0.15)
    hue = float(rng.uniform(0, 1))
    paper = colorsys.hsv_to_rgb(hue, rng.choice([0.0, 0.7]), rng.uniform(0.5, 0.95))
    ink = colorsys.hsv_to_rgb((hue + 0.5) % 1.0, 0.6, rng.uniform(0.1, 0.5))
    ends = [(0.0, 0.0), (bottom, 1.0), (top, 0.0)]
    band = graph.ramp(axes.outputs["Z"], *((p, (v, v, v)) for p, v in ends))
    for node in graph.tree.nodes:
        if node.bl_idname == "ShaderNodeValToRGB" and node.outputs[0] == band:
            node.color_ramp.interpolation = "CONSTANT"
    lines = graph.noise(
        graph.coordinates(rng, (1.0, 1.0, float(rng.uniform(2, 5)))), 6.0 / max(size, 0.02), 3.0
    )
    sheet = graph.ramp(lines, (0.5, paper), (float(rng.uniform(0.53, 0.6)), ink))
    return graph.mix(band, base, sheet)
