"""Builder of Blender shader graphs: nodes with linked inputs, noise, colour ramps, bump maps."""

from __future__ import annotations

from typing import Any

import numpy as np

Colour = tuple[float, float, float]


def to_linear(srgb: Any) -> tuple[float, ...]:
    """Convert sRGB values in [0, 1] to linear ones."""
    value = np.asarray(srgb, np.float64)
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return tuple(float(v) for v in linear)


def rgba(srgb: Colour) -> tuple[float, ...]:
    """Convert sRGB values in [0, 1] to a linear colour with alpha 1."""
    return (*to_linear(srgb), 1.0)


class Graph:
    """Shader graph of one material or world."""

    def __init__(self, owner: Any) -> None:
        owner.use_nodes = True
        self.tree = owner.node_tree
        self.tree.nodes.clear()

    def add(self, kind: str, inputs: dict[Any, Any] | None = None, **attributes: Any) -> Any:
        """Add a node of Blender's type ``kind``; link the sockets among ``inputs``, set other values."""
        node = self.tree.nodes.new(kind)
        for name, value in attributes.items():
            setattr(node, name, value)
        for key, value in (inputs or {}).items():
            socket = node.inputs[key]
            if hasattr(value, "is_output"):
                self.tree.links.new(value, socket)
            else:
                socket.default_value = value
        return node

    def coordinates(self, rng: np.random.Generator, stretch: Colour = (1, 1, 1)) -> Any:
        """Add object coordinates in metres, randomly moved and turned about z, then stretched."""
        source = self.add("ShaderNodeTexCoord").outputs["Object"]
        mapping = self.add(
            "ShaderNodeMapping",
            {
                "Vector": source,
                "Location": tuple(rng.uniform(-1, 1, 3)),
                "Rotation": (0.0, 0.0, float(rng.uniform(0, 2 * np.pi))),
                "Scale": stretch,
            },
        )
        return mapping.outputs["Vector"]

    def noise(self, vector: Any, scale: float, detail: float = 2.0, distortion: float = 0.0) -> Any:
        """Add smooth noise in [0, 1] around 0.5; ``scale`` is bumps per metre."""
        node = self.add(
            "ShaderNodeTexNoise",
            {"Vector": vector, "Scale": scale, "Detail": detail, "Distortion": distortion},
        )
        return node.outputs["Fac"]

    def ramp(self, factor: Any, *stops: tuple[float, Colour]) -> Any:
        """Add a colour ramp; ``stops`` are (position, sRGB colour) in ascending order."""
        node = self.add("ShaderNodeValToRGB", {"Fac": factor})
        elements = node.color_ramp.elements
        while len(elements) < len(stops):
            elements.new(0.5)
        for element, (position, colour) in zip(elements, stops, strict=True):
            element.position = position
            element.color = rgba(colour)
        return node.outputs["Color"]

    def between(self, factor: Any, low: float, high: float) -> Any:
        """Map a factor from [0.25, 0.75], the usual range of noise, to [low, high]."""
        node = self.add(
            "ShaderNodeMapRange",
            {
                "Value": factor, "From Min": 0.25, "From Max": 0.75,
                "To Min": low, "To Max": high,
            },
        )  # fmt: skip
        return node.outputs["Result"]

    def mix(self, factor: Any, a: Any, b: Any, blend: str = "MIX") -> Any:
        """Mix two linear colours."""
        node = self.add("ShaderNodeMixRGB", {0: factor, 1: a, 2: b}, blend_type=blend)
        return node.outputs[0]

    def bump(self, height: Any, millimetres: float, strength: float = 1.0) -> Any:
        """Add a bump map; height 1 lies ``millimetres`` above height 0."""
        node = self.add(
            "ShaderNodeBump",
            {"Height": height, "Distance": millimetres * 1e-3, "Strength": strength},
        )
        return node.outputs["Normal"]

    def picture(self, image: Any, vector: Any = None, extension: str = "REPEAT") -> Any:
        """Look up a picture at texture coordinates; None means those of the mesh."""
        inputs = {} if vector is None else {"Vector": vector}
        node = self.add("ShaderNodeTexImage", inputs, image=image, extension=extension)
        return node.outputs["Color"]

    def principled(self, inputs: dict[str, Any]) -> Any:
        """Add a principled surface shader."""
        return self.add("ShaderNodeBsdfPrincipled", inputs).outputs[0]

    def surface(self, shader: Any, output: str = "ShaderNodeOutputMaterial") -> None:
        """Connect the shader to the output of the material or world."""
        self.add(output, {"Surface": shader})
