"""Procedural patterns of table tops and floors: wood, planks, stone, laminate, cloth, tiles."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np

from ovps_core.synthetic.path_traced.nodes import Colour, Graph, rgba
from ovps_core.synthetic.path_traced.shading import darker


def paint(
    graph: Graph, pattern: str, wood: Colour, plain: Colour, large: bool, rng: np.random.Generator
) -> dict[str, Any]:
    """Return the inputs of a principled surface that shows the pattern.

    Args:
        wood, plain: sRGB colours for woods and for everything else.
        large: sizes of planks and tiles as on a floor, not on a table.
    """
    vector = graph.coordinates(rng)
    if pattern == "wood":
        return _wood(graph, wood, rng)
    if pattern == "planks":
        return _bricks(graph, wood, 0.12 if large else 0.07, 1.2, 0.002, True, rng)
    if pattern == "tiles":
        side = float(rng.uniform(0.2, 0.6) if large else rng.uniform(0.05, 0.25))
        return _bricks(graph, plain, side, side, 0.004, False, rng)
    if pattern == "stone":
        field = graph.noise(vector, float(rng.uniform(2, 9)), 10.0, float(rng.uniform(0, 2.5)))
        colour = graph.ramp(
            field, (0.3, darker(plain, 0.55)), (0.48, plain), (0.52, darker(plain, 0.85)),
            (0.7, darker(plain, 1.15)),
        )  # fmt: skip
        return {"Base Color": colour, "Roughness": float(rng.uniform(0.08, 0.5))}
    if pattern == "speckled":
        field = graph.noise(vector, float(rng.uniform(150, 500)), 3.0)
        colour = graph.ramp(
            field, (0.35, darker(plain, 0.3)), (0.5, plain), (0.65, (0.9, 0.9, 0.88))
        )
        return {"Base Color": colour, "Roughness": float(rng.uniform(0.1, 0.4))}
    if pattern in ("cloth", "checks"):
        return _cloth(graph, plain, pattern == "checks", rng)
    smears = graph.noise(vector, float(rng.uniform(3, 12)), 3.0)
    return {
        "Base Color": rgba(plain),
        "Roughness": graph.between(smears, 0.25, float(rng.uniform(0.35, 0.7))),
    }


def _wood(graph: Graph, colour: Colour, rng: np.random.Generator) -> dict[str, Any]:
    """Make one wooden board with grain and annual rings."""
    slow = graph.noise(
        graph.coordinates(rng, (1.0, 9.0, 9.0)), float(rng.uniform(0.8, 2.2)), 3.0, 1.5
    )
    fine = graph.noise(graph.coordinates(rng, (8.0, 220.0, 220.0)), 1.0, 3.0)
    rings = graph.add(
        "ShaderNodeMath", {0: slow, 1: float(rng.uniform(5, 14))}, operation="MULTIPLY"
    )
    wave = graph.add("ShaderNodeMath", {0: rings.outputs[0]}, operation="FRACT").outputs[0]
    base = graph.ramp(wave, (0.0, darker(colour, 0.8)), (0.75, darker(colour, 1.08)),
                      (1.0, darker(colour, 0.8)))  # fmt: skip
    streaks = graph.ramp(fine, (0.3, (0.75, 0.72, 0.7)), (0.6, (1.0, 1.0, 1.0)))
    return {
        "Base Color": graph.mix(float(rng.uniform(0.3, 0.9)), base, streaks, "MULTIPLY"),
        "Roughness": float(rng.uniform(0.25, 0.7)),
        "Normal": graph.bump(fine, 0.08),
    }


def _bricks(
    graph: Graph, colour: Colour, height: float, width: float, gap: float, grain: bool,
    rng: np.random.Generator,
) -> dict[str, Any]:  # fmt: skip
    """Make rows of planks or tiles with gaps; sizes in metres."""
    bricks = graph.add(
        "ShaderNodeTexBrick",
        {
            "Vector": graph.coordinates(rng), "Scale": 1.0,
            "Color1": rgba(darker(colour, float(rng.uniform(0.75, 0.98)))), "Color2": rgba(colour),
            "Mortar": rgba(darker(colour, float(rng.uniform(0.3, 0.8)))),
            "Mortar Size": gap, "Brick Width": width, "Row Height": height,
        },
        offset=0.5 if grain else 0.0,
    )  # fmt: skip
    shade = bricks.outputs["Color"]
    if grain:
        fine = graph.noise(graph.coordinates(rng, (5.0, 120.0, 120.0)), 1.0, 4.0, 0.5)
        streaks = graph.ramp(fine, (0.3, (0.7, 0.66, 0.62)), (0.65, (1.0, 1.0, 1.0)))
        shade = graph.mix(0.7, shade, streaks, "MULTIPLY")
    return {
        "Base Color": shade,
        "Roughness": float(rng.uniform(0.15, 0.6)),
        "Normal": graph.bump(bricks.outputs["Fac"], -0.8),
    }


def _cloth(graph: Graph, colour: Colour, checked: bool, rng: np.random.Generator) -> dict[str, Any]:
    """Make woven cloth, plain or checked."""
    threads = graph.noise(graph.coordinates(rng, (500.0, 500.0, 500.0)), 1.0, 1.0)
    folds = graph.noise(graph.coordinates(rng), float(rng.uniform(3, 8)), 2.0)
    other = colorsys.hsv_to_rgb(*rng.uniform((0, 0.2, 0.3), (1, 0.8, 0.9)))
    base: Any = rgba(colour)
    if checked:
        base = graph.add(
            "ShaderNodeTexChecker",
            {
                "Vector": graph.coordinates(rng), "Color1": rgba(colour), "Color2": rgba(other),
                "Scale": float(rng.uniform(12, 60)),
            },
        ).outputs["Color"]  # fmt: skip
    weave = graph.ramp(threads, (0.3, (0.7, 0.7, 0.7)), (0.7, (1.0, 1.0, 1.0)))
    height = graph.add("ShaderNodeMath", {0: folds, 1: threads}, operation="ADD").outputs[0]
    return {
        "Base Color": graph.mix(0.8, base, weave, "MULTIPLY"),
        "Roughness": 0.95,
        "Normal": graph.bump(height, 1.5, 0.5),
    }
