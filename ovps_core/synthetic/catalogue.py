"""Table of all object classes, their object parts, and the object parts held out of training."""

from __future__ import annotations

from collections.abc import Sequence

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

OBJECT_PARTS: tuple[tuple[str, str], ...] = tuple(
    (c.name, part)
    for level in ("tabletop", "wild")
    for c in OBJECT_CLASSES.values()
    if c.level == level
    for part in c.parts
)
"""All (object, part), tabletop first: pixel value i + 1 of a part map is OBJECT_PARTS[i] on both levels."""

OBJECT_PART_ID: dict[tuple[str, str], int] = {
    object_part: i + 1 for i, object_part in enumerate(OBJECT_PARTS)
}
"""Pixel value of each object part in a part map."""

HELD_OUT_OBJECT_PARTS: tuple[tuple[str, str], ...] = (
    ("pot", "knob"),
    ("kettle", "handle"),
    ("spatula", "handle"),
    ("jar", "lid"),
    ("bucket", "rim"),
    ("bottle", "neck"),
)
"""Object parts without labels in training; their objects and their parts have labels in other combinations."""


_FITS_ON_TABLE = 0.5
"""Longest side of an object that tabletop scenes have room for, metres."""


def table_objects() -> tuple[str, ...]:
    """List the names of all objects that fit on a table, of both levels."""
    return tuple(c.name for c in OBJECT_CLASSES.values() if c.size <= _FITS_ON_TABLE)


def classes_of(level: Level, names: Sequence[str] = ()) -> list[ObjectClass]:
    """List the classes in scenes of a level: the tabletop ones, or all for "wild"; or those of given names.

    Raises:
        DatasetError: no class has one of the names.
    """
    if names:
        return [object_class(name) for name in dict.fromkeys(names)]
    return [c for c in OBJECT_CLASSES.values() if level == "wild" or c.level == level]


def object_parts_of(level: Level, names: Sequence[str] = ()) -> list[tuple[str, str]]:
    """List the (object, part) that part maps of a level, or of the classes of given names, may contain."""
    shown = {c.name for c in classes_of(level, names)}
    return [(name, part) for name, part in OBJECT_PARTS if name in shown]


def object_class(name: str) -> ObjectClass:
    """Look up a class by name.

    Raises:
        DatasetError: no class has that name; the message lists the known ones.
    """
    if name not in OBJECT_CLASSES:
        known = ", ".join(sorted(OBJECT_CLASSES))
        raise DatasetError(f"No rendered object is called {name!r}. Known objects: {known}.")
    return OBJECT_CLASSES[name]
