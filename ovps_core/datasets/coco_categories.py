"""Categories of a COCO file as objects and parts."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

from ovps_core.datasets.coco_problems import Problem
from ovps_core.errors import QueryError
from ovps_core.language.parser import parse_query

_PACO = ("OBJECT", "PART")  # supercategories of PACO, whose parts are named "mug:handle"

Id = int | str
"""Id of a category, an image or an annotation."""


@dataclass(frozen=True, order=True)
class ObjectPart:
    """The category of an annotation: a part of an object, or the whole object if ``part`` is empty."""

    object: str
    part: str

    @property
    def name(self) -> str:
        """Both names as one phrase: "mug handle", "mug", or "handle"."""
        return f"{self.object} {self.part}".strip()


@dataclass(frozen=True)
class Categories:
    """The categories of a file.

    Attributes:
        by_id: those that can be asked for.
        without_part: ids that mean no part: background, and the group that holds all categories.
        ids: every id in the file, also of categories that cannot be used.
    """

    by_id: Mapping[Id, ObjectPart]
    without_part: frozenset[Id]
    ids: frozenset[Id]


class CategoryTable:
    """The categories of a file that is written: each (object, part) has one id.

    >>> table = CategoryTable([{"id": 7, "name": "mug", "object": "mug", "part": ""}])
    >>> table.id_of("mug", ""), table.id_of("mug", "handle")
    (7, 8)

    Args:
        earlier: categories that the file has; they keep their ids.

    Attributes:
        entries: the list ``categories``, in the order of the first use.
    """

    def __init__(self, earlier: Iterable[dict[str, Any]] = ()) -> None:
        self.entries = list(earlier)
        self._ids: dict[tuple[Any, Any], Id] = {
            (entry.get("object"), entry.get("part")): entry["id"] for entry in self.entries
        }
        self._unused = unused_ids(self.entries)

    def id_of(self, object_name: str, part: str) -> Id:
        """Id of a category, which is added if it is new; ``part`` is empty for the whole object."""
        if (object_name, part) not in self._ids:
            number = next(self._unused)
            entry = {"id": number, "name": ObjectPart(object_name, part).name}
            self.entries.append({**entry, "object": object_name, "part": part})
            self._ids[object_name, part] = number
        return self._ids[object_name, part]


def read_id(value: Any) -> Id | None:
    """An id as JSON has it, 1.0 as 1; None if the value cannot be one."""
    if type(value) is float and value.is_integer():
        return int(value)
    return value if type(value) in (int, str) else None


def unused_ids(entries: Iterable[Mapping[str, Any]]) -> Iterator[int]:
    """Ids that no entry has, from the first whole number above all of theirs.

    >>> next(unused_ids([{"id": 4}, {"id": "a"}, {}]))
    5
    """
    ids = (read_id(entry.get("id")) for entry in entries)
    return count(1 + max((each for each in ids if isinstance(each, int)), default=0))


def read_phrase(name: str, objects: Iterable[str] = ()) -> ObjectPart:
    """Read a category's name as a phrase. Words that the lexicon does not know end with the part.

    >>> read_phrase("valve wheel nut"), read_phrase("valve_wheel_nut", ["valve"])
    (ObjectPart(object='valve wheel', part='nut'), ObjectPart(object='valve', part='wheel nut'))

    Args:
        name: as labelling tools export it.
        objects: a name that begins with one of them is it, or a part of it.

    Raises:
        QueryError: the name is no phrase.
    """
    words = _plain(name).lower()
    known = {_plain(each).lower(): each for each in objects}
    begun = [each for each in known if words.startswith(f"{each} ")]
    if begun:
        longest = max(begun, key=len)
        return ObjectPart(known[longest], words[len(longest) + 1 :])
    if words in known:
        return ObjectPart(known[words], "")
    query = parse_query(name)
    if query.part or " " not in query.object:
        return ObjectPart(query.object, query.part)
    object_name, _, part = query.object.rpartition(" ")
    return ObjectPart(object_name, part)


def read_categories(
    entries: Sequence[Any],
    used: frozenset[Id],
    object_name: str,
    problems: list[Problem],
    objects: Collection[str] | None = None,
) -> Categories:
    """Read the list ``categories``. Names that differ in case, blanks, ``_`` and ``-`` only are one category.

    Args:
        entries: the list.
        used: ids that annotations use.
        object_name: object of the categories that have only a ``name``; "" if none was given.
        problems: those found are added.
        objects: read categories that have only a ``name`` as :func:`read_phrase`; None leaves them to
            ``object_name``.
    """
    above = [entry.get("supercategory") for entry in entries if isinstance(entry, dict)]
    groups = {name for name in above if isinstance(name, str)}
    by_id: dict[Id, ObjectPart] = {}
    without_part: set[Id] = set()
    seen: set[Id] = set()
    nameless: list[str] = []
    for position, entry in enumerate(entries):
        number = read_id(entry.get("id")) if isinstance(entry, dict) else None
        place = f"category {number if number is not None else f'at position {position}'}"
        if number is None:
            problems.append(Problem(place, "it has no id, which is a whole number or a text"))
        elif number in seen:
            problems.append(Problem(place, "the id occurs twice"))
            by_id.pop(number, None)
        elif _is_background(entry) or (number not in used and _is_group(entry, groups)):
            without_part.add(number)
        else:
            category = _object_part(entry, object_name, objects)
            if isinstance(category, str):
                problems.append(Problem(place, category))
            elif category.name:
                by_id[number] = category
            else:
                nameless.append(f"{number} ({entry.get('name')!r})")
        if number is not None:
            seen.add(number)
    if nameless:
        problems.append(_nameless(nameless, as_phrases=objects is not None))
    first: dict[tuple[str, str], ObjectPart] = {}
    united = {number: first.setdefault(_spelt_alike(each), each) for number, each in by_id.items()}
    return Categories(united, frozenset(without_part), frozenset(seen))


def _spelt_alike(category: ObjectPart) -> tuple[str, str]:
    names = (re.sub(r"[_\s-]+", " ", name) for name in (category.object, category.part))
    object_name, part = (name.strip().casefold() for name in names)
    return object_name, part


def _object_part(
    entry: dict[str, Any], object_name: str, objects: Collection[str] | None
) -> ObjectPart | str:
    """The object and part of an entry, both empty if it names none; or what is wrong with it."""
    words = {}
    for key in ("object", "part", "name"):
        value = entry.get(key)
        if value is not None and not isinstance(value, str):
            return f'its "{key}" is {value!r}; expected a text'
        words[key] = (value or "").strip()
    if entry.get("supercategory") in _PACO and not (words["object"] or words["part"]):
        named, _, part = (_plain(each) for each in words["name"].partition(":"))
        return ObjectPart(named, part)
    if words["object"] or words["part"]:
        return ObjectPart(words["object"], words["part"])
    if not object_name:
        try:
            return ObjectPart("", "") if objects is None else read_phrase(words["name"], objects)
        except QueryError:
            return ObjectPart("", "")
    name = _plain(words["name"])
    own = _plain(object_name).lower()
    if name.lower() == own:
        return ObjectPart(object_name, "")
    part = name[len(own) + 1 :] if name.lower().startswith(f"{own} ") else name
    return ObjectPart(object_name, part) if part else ObjectPart("", "")


def _plain(name: str) -> str:
    """A name with single spaces in place of ``_`` and ``-``, and without a remark: "bat (animal)" is a bat."""
    return re.sub(r"[_\s-]+", " ", re.sub(r"\(.*?\)", "", name)).strip()


def _nameless(names: Sequence[str], *, as_phrases: bool) -> Problem:
    advice = (
        'Expected a name such as "mug handle".'
        if as_phrases
        else "If the names are parts of one object, say which: --object NAME, in a training recipe "
        "`data: {object: NAME}`."
    )
    more = f", and {len(names) - 1} more do not either" if len(names) > 1 else ""
    return Problem(
        f"category {names[0]}",
        f"it names neither an object nor a part{more}. {advice} Else write them as "
        '{"id": 1, "object": "mug", "part": "handle"}; leave one of the two empty for a whole object, or for a '
        "part of any object",
    )


def _is_background(entry: dict[str, Any]) -> bool:
    return str(entry.get("name", "")).strip("_ ").lower() == "background"


def _is_group(entry: dict[str, Any], groups: set[str]) -> bool:
    """Roboflow's first category: the project's name, of which all others are members."""
    named = entry.get("object") or entry.get("part")
    return not named and isinstance(entry.get("name"), str) and entry["name"] in groups
