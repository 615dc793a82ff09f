"""What a parametric object is: named parts, a shape drawn per split, a class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from ovps_core.synthetic.settings import Level, Split

if TYPE_CHECKING:
    import trimesh

# Training never draws a shape latent inside the band; validation and test draw nowhere else.
TEST_BAND = (0.45, 0.60)
_BANDS = {"val": (0.45, 0.525), "test": (0.525, 0.60)}
T = TypeVar("T")


@dataclass(frozen=True)
class PartMesh:
    """One part of one object.

    Attributes:
        part: the part's name, a word of the vocabulary.
        mesh: closed surface in the object's frame, metres, z up.
        material: a kind of `materials.MATERIAL_KINDS`.
        tint: parts of one object that share this letter share their colour.
    """

    part: str
    mesh: trimesh.Trimesh
    material: str
    tint: str = "a"


class ShapeRng:
    """Random numbers for one object's shape.

    `latent` maps the object's one shape latent u in [0, 1]; each class gives it the proportions
    that tell its members apart. Everything else is drawn freely with `uniform` and `choice`.
    """

    def __init__(self, rng: np.random.Generator, split: Split = "train") -> None:
        self._rng = rng
        self.u = shape_latent(rng, split)

    def latent(self, low: float, high: float) -> float:
        """The object's latent u, mapped to [low, high] (low may be the larger)."""
        return low + (high - low) * self.u

    def uniform(self, low: float, high: float) -> float:
        return float(self._rng.uniform(low, high))

    def chance(self, probability: float) -> bool:
        return bool(self._rng.random() < probability)

    def choice(self, options: tuple[T, ...] | list[T]) -> T:
        return options[int(self._rng.integers(len(options)))]


def shape_latent(rng: np.random.Generator, split: Split) -> float:
    """A shape latent u: outside TEST_BAND for train, in its lower half for val, upper for test."""
    if split == "train":
        low, high = TEST_BAND
        u = float(rng.uniform(0.0, 1.0 - (high - low)))
        return u if u < low else u + (high - low)
    return float(rng.uniform(*_BANDS[split]))


Build = Callable[[ShapeRng], list[PartMesh]]


@dataclass(frozen=True)
class ObjectClass:
    """A kind of object.

    Attributes:
        name: the object's name, a word of the vocabulary.
        build: draws one member, parts in the object's frame, z up, metres.
        parts: every part name a member may have, in a fixed order.
        level: the first level it occurs at ("wild" scenes hold tabletop classes too).
        size: typical largest side in metres, for documentation and camera distance.
        poses: how it rests, names that `rest.rests` explains.
        faces: it has a front, towards -x, that a camera mostly looks at.
    """

    name: str
    build: Build
    parts: tuple[str, ...]
    level: Level
    size: float
    poses: tuple[str, ...] = ("as_built",)
    faces: bool = False
