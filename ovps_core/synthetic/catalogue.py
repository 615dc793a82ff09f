"""Table of all object classes, their (object, part) pairs, and the pairs held out of training."""

from __future__ import annotations

from ovps_core.errors import DatasetError
from ovps_core.synthetic.object_class import ObjectClass
from ovps_core.synthetic.objects import (
    containers,
    cutlery,
    tools,
    vessels,
    wild_doors,
    wild_furniture,
    wild_household,
    wild_tools,
)
from ovps_core.synthetic.settings import Level

OBJECT_CLASSES: dict[str, ObjectClass] = {
    c.name: c
    for module in (
        cutlery,
        vessels,
        containers,
        tools,
        wild_tools,
        wild_furniture,
        wild_doors,
        wild_household,
    )
    for c in module.classes()
}

PAIRS: tuple[tuple[str, str], ...] = tuple(
    (c.name, part)
    for level in ("tabletop", "wild")
    for c in OBJECT_CLASSES.values()
    if c.level == level
    for part in c.parts
)
"""All pairs, tabletop ones first: pixel value i + 1 of a part map is PAIRS[i] on both levels."""

PAIR_ID: dict[tuple[str, str], int] = {pair: i + 1 for i, pair in enumerate(PAIRS)}
"""Pixel value of each pair in a part map."""

HELD_OUT_PAIRS: tuple[tuple[str, str], ...] = (
    ("pot", "knob"),
    ("kettle", "handle"),
    ("spatula", "handle"),
    ("jar", "lid"),
    ("bucket", "rim"),
    ("bottle", "neck"),
)
"""Pairs without labels in training; their objects and parts occur in other pairs that have them."""


def classes_of(level: Level) -> list[ObjectClass]:
    """List the classes in scenes of a level: the tabletop ones, or all of them for "wild"."""
    return [c for c in OBJECT_CLASSES.values() if level == "wild" or c.level == level]


def pairs_of(level: Level) -> list[tuple[str, str]]:
    """List the (object, part) pairs that part maps of a level may contain."""
    names = {c.name for c in classes_of(level)}
    return [pair for pair in PAIRS if pair[0] in names]


def object_class(name: str) -> ObjectClass:
    """Look up a class by name.

    Raises:
        DatasetError: there is no class of that name; the message lists the known ones.
    """
    if name not in OBJECT_CLASSES:
        known = ", ".join(sorted(OBJECT_CLASSES))
        raise DatasetError(f"No rendered object is called {name!r}. Known objects: {known}.")
    return OBJECT_CLASSES[name]
