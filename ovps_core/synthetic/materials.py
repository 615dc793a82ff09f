"""Materials of objects and tables: colours, reflectance, and small procedural textures."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass
from typing import Any

import numpy as np

RGBA = tuple[float, float, float, float]


@dataclass(frozen=True)
class MaterialKind:
    """Reflectance and possible textures of a kind of material.

    Attributes:
        textures: keys of :func:`object_textures`.
        specular: OpenGL specular term, 0 to 1.
        shininess: OpenGL shininess term, 0 to 1.
        alpha: opacity, 0 to 1; below 1 the table shows through.
    """

    textures: tuple[str, ...]
    specular: float
    shininess: float
    alpha: float = 1.0


MATERIAL_KINDS: dict[str, MaterialKind] = {
    "steel": MaterialKind(("brushed", "sheen", "plain"), 0.9, 0.65),
    "iron": MaterialKind(("plain", "speckle"), 0.4, 0.3),
    "brass": MaterialKind(("brushed", "sheen"), 0.8, 0.6),
    "zinc": MaterialKind(("sheen", "brushed"), 0.5, 0.4),
    "wood": MaterialKind(("grain", "grain_fine"), 0.15, 0.2),
    "plastic": MaterialKind(("plain",), 0.5, 0.5),
    "rubber": MaterialKind(("plain", "speckle"), 0.08, 0.1),
    "ceramic": MaterialKind(("plain", "plain", "speckle"), 0.6, 0.8),
    "enamel": MaterialKind(("plain", "speckle"), 0.6, 0.7),
    "glass": MaterialKind(("plain",), 1.0, 0.9, 0.5),
    "bristle": MaterialKind(("hair",), 0.05, 0.1),
    "paint": MaterialKind(("plain", "grain_fine"), 0.25, 0.3),
    "cloth": MaterialKind(("speckle", "weave"), 0.02, 0.05),
}


def _hsv(h: float, s: float, v: float) -> tuple[float, float, float]:
    return colorsys.hsv_to_rgb(h % 1.0, float(np.clip(s, 0, 1)), float(np.clip(v, 0, 1)))


def draw_colour(kind: str, rng: np.random.Generator) -> RGBA:
    """Draw a plausible colour of a material kind, RGBA from 0 to 1."""
    u = rng.uniform
    grey = u(0.0, 0.06)
    if kind == "steel":
        rgb = _hsv(u(0.5, 0.65), grey, u(0.62, 0.92))
    elif kind == "zinc":
        rgb = _hsv(u(0.5, 0.65), grey, u(0.5, 0.75))
    elif kind == "iron":
        rgb = _hsv(u(0, 1), grey, u(0.12, 0.32))
    elif kind == "brass":
        rgb = _hsv(u(0.08, 0.14), u(0.4, 0.65), u(0.65, 0.85))
    elif kind == "wood":
        rgb = _hsv(u(0.055, 0.11), u(0.35, 0.7), u(0.35, 0.88))
    elif kind == "bristle":
        rgb = (
            _hsv(u(0.05, 0.14), u(0.05, 0.5), u(0.2, 0.95))
            if u(0, 1) < 0.7
            else _hsv(u(0, 1), 0.7, 0.7)
        )
    elif kind == "rubber":
        rgb = (
            _hsv(u(0, 1), u(0, 0.15), u(0.1, 0.3))
            if u(0, 1) < 0.6
            else _hsv(u(0, 1), u(0.5, 0.9), u(0.35, 0.8))
        )
    elif kind == "glass":
        rgb = (
            _hsv(u(0, 1), u(0.0, 0.12), u(0.8, 1))
            if u(0, 1) < 0.5
            else _hsv(u(0, 1), u(0.3, 0.8), u(0.35, 0.9))
        )
    else:
        pick = u(0, 1)
        white = 0.4 if kind == "ceramic" else 0.15
        black = 0.0 if kind == "paint" else 0.22 if kind == "plastic" else 0.1
        if pick < white:
            rgb = _hsv(u(0.08, 0.16), u(0.0, 0.12), u(0.85, 0.98))
        elif pick < white + black:
            rgb = _hsv(u(0, 1), grey, u(0.1, 0.2))
        else:
            rgb = _hsv(u(0, 1), u(0.35, 0.95), u(0.4, 0.95))
    return (*rgb, MATERIAL_KINDS[kind].alpha)


def _noise(
    rng: np.random.Generator, height: int, width: int, sigma: tuple[float, float]
) -> np.ndarray:
    """Draw periodic smooth noise [height, width] with mean 0 and deviation 1."""
    from scipy.ndimage import gaussian_filter

    field = gaussian_filter(rng.standard_normal((height, width)), sigma, mode="wrap")
    return np.asarray((field - field.mean()) / (field.std() + 1e-9))


def _image(luma: np.ndarray) -> np.ndarray:
    return np.repeat((np.clip(luma, 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=-1)


def object_textures(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Draw light grey textures uint8 [H, H, 3] by name; a part's colour multiplies them."""
    side = 96
    ramp = np.linspace(0, 2 * np.pi, side)
    grain = np.sin(6 * ramp[:, None] + 1.4 * _noise(rng, side, side, (3, 14)))
    return {
        "plain": _image(np.full((4, 4), 1.0)),
        "brushed": _image(0.9 + 0.05 * _noise(rng, side, side, (0.7, 12))),
        "sheen": _image(
            0.86 + 0.12 * np.sin(2 * ramp[:, None] + _noise(rng, side, side, (9, 9)) * 0.5)
        ),
        "speckle": _image(0.92 + 0.05 * _noise(rng, side, side, (0.8, 0.8))),
        "grain": _image(0.82 + 0.12 * grain + 0.03 * _noise(rng, side, side, (0.6, 5))),
        "grain_fine": _image(0.88 + 0.07 * _noise(rng, side, side, (1.0, 9))),
        "hair": _image(0.75 + 0.2 * _noise(rng, side, side, (0.6, 10))),
        "weave": _image(0.85 + 0.1 * np.sin(16 * ramp[:, None]) * np.sin(16 * ramp[None, :])),
    }


def table_textures(rng: np.random.Generator) -> list[np.ndarray]:
    """Draw table tops uint8 [256, 256, 3]: plain, woods, stones, cloth, planks, checks."""
    side = 256
    ramp = np.linspace(0, 2 * np.pi, side, endpoint=False)
    base: list[np.ndarray] = [
        np.full((side, side), 0.95) + 0.01 * _noise(rng, side, side, (1, 1)),
        0.8 + 0.09 * np.sin(5 * ramp[:, None] + 1.5 * _noise(rng, side, side, (6, 50)))
        + 0.03 * _noise(rng, side, side, (0.7, 12)),
        0.82 + 0.06 * _noise(rng, side, side, (1.2, 30)),
        0.85 + 0.07 * _noise(rng, side, side, (14, 14)) + 0.03 * _noise(rng, side, side, (2, 2)),
        0.8 + 0.1 * _noise(rng, side, side, (1.0, 1.0)),
        0.88 + 0.06 * np.sin(48 * ramp[:, None]) * np.sin(48 * ramp[None, :]),
    ]  # fmt: skip
    planks = base[2].copy()
    for i in range(5):
        rows = slice(i * side // 5, (i + 1) * side // 5)
        planks[rows] += rng.uniform(-0.08, 0.08)
        planks[rows.start : rows.start + 2] -= 0.3
    checks = 0.9 - 0.25 * ((np.sin(4 * ramp[:, None]) > 0) ^ (np.sin(4 * ramp[None, :]) > 0))
    return [_image(luma) for luma in [*base, planks, checks]]


def draw_table_colour(index: int, rng: np.random.Generator) -> RGBA:
    """Draw a colour for a table texture, RGBA from 0 to 1; textures 1, 2 and 6 are woods."""
    u = rng.uniform
    if index in (1, 2, 6):
        return (*_hsv(u(0.05, 0.11), u(0.2, 0.6), u(0.4, 0.95)), 1.0)
    pick = u(0, 1)
    if pick < 0.55:
        return (*_hsv(u(0.05, 0.65), u(0.0, 0.12), u(0.55, 1.0)), 1.0)
    if pick < 0.7:
        return (*_hsv(u(0, 1), u(0.0, 0.2), u(0.2, 0.4)), 1.0)
    return (*_hsv(u(0, 1), u(0.15, 0.55), u(0.4, 0.9)), 1.0)


def add_texture(spec: Any, name: str, image: np.ndarray, cube: bool) -> None:
    """Add an image uint8 [H, W, 3] to an MjSpec; ``cube`` repeats it on six faces."""
    import mujoco

    width = image.shape[1]
    pixels = np.concatenate([image] * 6) if cube else image
    kind = mujoco.mjtTexture.mjTEXTURE_CUBE if cube else mujoco.mjtTexture.mjTEXTURE_2D
    texture = spec.add_texture(
        name=name, type=kind, width=width, height=pixels.shape[0], nchannel=3
    )
    texture.data = pixels.tobytes()
