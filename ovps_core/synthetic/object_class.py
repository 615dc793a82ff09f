"""Parametric object classes: a builder of part meshes, and the shape latent of each split."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ovps_core.synthetic.settings import Level, Split

if TYPE_CHECKING:
    import trimesh

TEST_BAND = (0.45, 0.60)
"""Shape latents that training never draws; validation and test draw only these."""

_BANDS = {"val": (0.45, 0.525), "test": (0.525, 0.60)}
T = TypeVar("T")

OWN_TEXTURE = "own"
"""Material of a part whose mesh has its own texture."""


@dataclass(frozen=True)
class PartMesh:
    """One part of one object.

    Attributes:
        part: name of the part, such as "handle".
        mesh: closed surface in the object's frame, metres, z up.
        material: a key of ``materials.MATERIAL_KINDS``, or OWN_TEXTURE.
        colour_group: letter; parts of one object with the same letter and material share a colour.
    """

    part: str
    mesh: trimesh.Trimesh
    material: str
    colour_group: str = "a"


class ShapeRng:
    """Random numbers that shape one object.

    :meth:`latent` maps the object's only shape latent u; each class uses it for the proportions in
    which its members differ most. The other methods draw independent numbers.

    Attributes:
        u: the shape latent, 0 to 1; its range depends on the split.
    """

    def __init__(self, rng: np.random.Generator, split: Split = "train") -> None:
        """Draw the shape latent of ``split`` from ``rng``, which later draws use too."""
        self._rng = rng
        self.u = shape_latent(rng, split)

    def latent(self, low: float, high: float) -> float:
        """Map the shape latent to the range from ``low`` (u = 0) to ``high`` (u = 1)."""
        return low + (high - low) * self.u

    def uniform(self, low: float, high: float) -> float:
        """Draw a number between ``low`` and ``high``."""
        return float(self._rng.uniform(low, high))

    def chance(self, probability: float) -> bool:
        """Draw True with the given probability."""
        return bool(self._rng.random() < probability)

    def choice(self, options: tuple[T, ...] | list[T]) -> T:
        """Draw one of the options, all equally likely."""
        return options[int(self._rng.integers(len(options)))]


def shape_latent(rng: np.random.Generator, split: Split) -> float:
    """Draw a shape latent: outside TEST_BAND for train, in its lower half for val, upper for test."""
    if split == "train":
        low, high = TEST_BAND
        u = float(rng.uniform(0.0, 1.0 - (high - low)))
        return u if u < low else u + (high - low)
    return float(rng.uniform(*_BANDS[split]))


Build = Callable[[ShapeRng], list[PartMesh]]


@dataclass(frozen=True)
class ObjectClass:
    """A class of objects.

    Attributes:
        name: name of the object, such as "wine glass".
        build: draws the parts of one member, in the object's frame, metres, z up.
        parts: every part name that a member may have, in a fixed order.
        level: the level that introduces the class; wild scenes also contain tabletop classes.
        size: typical longest side, metres.
        poses: names of poses on the table; see ``stable_poses.stable_poses``.
        has_front: its front, towards -x, mostly faces the camera.
    """

    name: str
    build: Build
    parts: tuple[str, ...]
    level: Level
    size: float
    poses: tuple[str, ...] = ("as_built",)
    has_front: bool = False
