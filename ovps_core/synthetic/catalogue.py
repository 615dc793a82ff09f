"""The table of object classes, the (object, part) pairs, and the pairs kept unseen."""

from __future__ import annotations

from ovps_core.errors import DatasetError
from ovps_core.synthetic.objects import containers as objects_containers
from ovps_core.synthetic.objects import cutlery as objects_cutlery
from ovps_core.synthetic.objects import tools as objects_tools
from ovps_core.synthetic.objects import vessels as objects_vessels
from ovps_core.synthetic.objects import wild_carry as objects_wild_carry
from ovps_core.synthetic.objects import wild_doors as objects_wild_doors
from ovps_core.synthetic.objects import wild_home as objects_wild_home
from ovps_core.synthetic.objects import wild_tools as objects_wild_tools
from ovps_core.synthetic.settings import Level
from ovps_core.synthetic.shape import ObjectClass

OBJECT_CLASSES: dict[str, ObjectClass] = {
    c.name: c
    for module in (
        objects_cutlery,
        objects_vessels,
        objects_containers,
        objects_tools,
        objects_wild_tools,
        objects_wild_home,
        objects_wild_doors,
        objects_wild_carry,
    )
    for c in module.classes()
}

# Pixel value i + 1 of a part map is PAIRS[i]; tabletop pairs come first, so both levels agree.
PAIRS: tuple[tuple[str, str], ...] = tuple(
    (c.name, part)
    for level in ("tabletop", "wild")
    for c in OBJECT_CLASSES.values()
    if c.level == level
    for part in c.parts
)
PAIR_ID: dict[tuple[str, str], int] = {pair: i + 1 for i, pair in enumerate(PAIRS)}

# Never supervised by default: each object and each part of these occurs in other pairs.
HELD_OUT_PAIRS: tuple[tuple[str, str], ...] = (
    ("pot", "knob"),
    ("kettle", "handle"),
    ("spatula", "handle"),
    ("jar", "lid"),
    ("bucket", "rim"),
    ("bottle", "neck"),
)


def classes_of(level: Level) -> list[ObjectClass]:
    """The classes that scenes of a level show: tabletop ones, or all of them for "wild"."""
    return [c for c in OBJECT_CLASSES.values() if level == "wild" or c.level == level]


def pairs_of(level: Level) -> list[tuple[str, str]]:
    """The (object, part) pairs that scenes of a level may label."""
    names = {c.name for c in classes_of(level)}
    return [pair for pair in PAIRS if pair[0] in names]


def object_class(name: str) -> ObjectClass:
    """The class of that name; raises DatasetError that lists the known names."""
    if name not in OBJECT_CLASSES:
        known = ", ".join(sorted(OBJECT_CLASSES))
        raise DatasetError(f"No rendered object is called {name!r}. Known objects: {known}.")
    return OBJECT_CLASSES[name]
