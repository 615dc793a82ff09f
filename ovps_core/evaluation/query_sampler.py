"""Sampler of queries about a rendered scene: parts and objects in the scene, and absent ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from ovps_core.errors import DatasetError
from ovps_core.language.parser import parse_query
from ovps_core.structures.query import PartQuery

_SIDE = 224
"""Side of the images to which the next two limits refer, pixels; for other sizes they are scaled."""

VISIBLE = 50
"""Minimum number of visible pixels of a part for a query about it."""

SMALL = 150
"""A part with fewer visible pixels is small."""


class Group(Enum):
    """Groups of queries that are reported together; the value is the title of the row."""

    SEEN = "seen pairs"
    UNSEEN = "pairs never trained together"
    SMALL = "small parts of both"
    OWN_OBJECT = "pairs, the model's whole object instead"
    TRUE_OBJECT = "pairs, the true whole object instead"
    PART = "part only"
    OBJECT = "object only"
    SYNONYM = "held-out synonyms"
    SYNONYM_KNOWN = "the same in known words"
    SYNONYM_READ = "held-out synonyms that were not refused"
    SYNONYM_READ_KNOWN = "those in known words"
    ABSENT_OBJECT = "object absent"
    ABSENT_PART = "part that the object lacks"


@dataclass(frozen=True)
class SampledQuery:
    """One query and its true answer.

    Attributes:
        query: the query.
        groups: the groups that count it.
        truth: bool [H, W]; None if the scene does not show it.
        whole: bool [H, W], the true mask of the whole object, if the query names an object and a part.
        synonym: the same query in words that the lexicon lacks.
    """

    query: PartQuery
    groups: tuple[Group, ...]
    truth: NDArray[np.bool_] | None = field(default=None, repr=False)
    whole: NDArray[np.bool_] | None = field(default=None, repr=False)
    synonym: PartQuery | None = None


@dataclass(frozen=True)
class Synonyms:
    """Synonyms of known names, held out from the lexicon.

    Attributes:
        objects: words for each object name.
        parts: words for each part name.
    """

    objects: Mapping[str, Sequence[str]]
    parts: Mapping[str, Sequence[str]]

    @classmethod
    def read(cls, path: Path) -> Synonyms:
        """Read YAML with the keys ``objects`` and ``parts`` and lines like ``handle: [lever]``.

        Raises:
            DatasetError: the file is missing or has another form.
        """
        try:
            content = yaml.safe_load(path.read_text("utf-8"))
            tables = [
                {str(name): tuple(map(str, words)) for name, words in content[kind].items()}
                for kind in ("objects", "parts")
            ]
        except (
            OSError, yaml.YAMLError, AttributeError, KeyError, TypeError, ValueError, RecursionError,
        ) as error:  # fmt: skip
            raise DatasetError(
                f"cannot read the synonyms in {path}: {error}; expected the keys 'objects' and "
                "'parts' with lines like `handle: [lever, holder]`"
            ) from error
        return cls(*tables)

    def draw(self, name: str, part: str, rng: np.random.Generator) -> PartQuery | None:
        """Draw a query with a synonym for the object or the part; None if none is known."""
        phrases = [f"{word} of the {name}" for word in self.parts.get(part, ())]
        phrases += [f"{part} of the {word}" for word in self.objects.get(name, ())]
        return parse_query(str(rng.choice(phrases))) if phrases else None


@dataclass(frozen=True)
class QuerySampler:
    """Sampler of queries about the scenes of one folder.

    A part with at least ``VISIBLE`` pixels is queried as present. A part with fewer pixels is queried neither
    as present nor as absent.

    Attributes:
        object_parts: (object, part); pixel value i + 1 of a part map is ``object_parts[i]``.
        held_out: object parts without labels in training.
        synonyms: words for additional queries.
    """

    object_parts: Sequence[tuple[str, str]]
    held_out: frozenset[tuple[str, str]]
    synonyms: Synonyms | None = None

    def sample(self, parts: NDArray[np.uint8], rng: np.random.Generator) -> list[SampledQuery]:
        """Sample the queries about one scene.

        Args:
            parts: part map, uint8 [H, W].
            rng: draws absent objects, absent parts and synonyms.
        """
        counts = np.bincount(parts.ravel(), minlength=len(self.object_parts) + 1)
        shown = [value for value in range(1, len(self.object_parts) + 1) if counts[value]]
        return [
            *self._pairs(parts, shown, rng),
            *self._names(parts, shown),
            *self._absent([self.object_parts[value - 1][0] for value in shown], rng),
        ]

    def _pairs(
        self, parts: NDArray[np.uint8], shown: Sequence[int], rng: np.random.Generator
    ) -> Iterator[SampledQuery]:
        for value in shown:
            pair, truth = self.object_parts[value - 1], parts == value
            share = np.count_nonzero(truth) / parts.size * _SIDE**2
            if share < VISIBLE:
                continue
            siblings = [v for v in shown if self.object_parts[v - 1][0] == pair[0]]
            groups = [Group.UNSEEN if pair in self.held_out else Group.SEEN]
            groups += [Group.SMALL] if share < SMALL else []
            yield SampledQuery(
                query=PartQuery(" ".join(pair), object=pair[0], part=pair[1]),
                groups=tuple(groups),
                truth=truth,
                whole=np.isin(parts, siblings),
                synonym=self.synonyms.draw(*pair, rng) if self.synonyms else None,
            )

    def _names(self, parts: NDArray[np.uint8], shown: Sequence[int]) -> Iterator[SampledQuery]:
        for column, group in ((0, Group.OBJECT), (1, Group.PART)):
            for name in dict.fromkeys(self.object_parts[value - 1][column] for value in shown):
                values = [v for v in shown if self.object_parts[v - 1][column] == name]
                truth = np.isin(parts, values)
                if np.count_nonzero(truth) / parts.size * _SIDE**2 < VISIBLE:
                    continue
                query = (
                    PartQuery(name, object=name)
                    if group is Group.OBJECT
                    else PartQuery(name, part=name)
                )
                yield SampledQuery(query, (group,), truth)

    def _absent(self, shown: Sequence[str], rng: np.random.Generator) -> Iterator[SampledQuery]:
        """Yield, for each object shown, queries about an absent object and about a part that it lacks."""
        objects = list(dict.fromkeys(shown))
        others = sorted({name for name, _ in self.object_parts} - set(objects))
        for name in rng.choice(others, size=min(len(objects), len(others)), replace=False):
            part = str(rng.choice([p for o, p in self.object_parts if o == name]))
            pair = PartQuery(f"{name} {part}", object=str(name), part=part)
            for query in (pair, PartQuery(str(name), object=str(name))):
                yield SampledQuery(query, (Group.ABSENT_OBJECT,))
        for name in objects:
            own = {p for o, p in self.object_parts if o == name}
            part = str(rng.choice(sorted({p for _, p in self.object_parts} - own)))
            yield SampledQuery(
                PartQuery(f"{name} {part}", object=name, part=part), (Group.ABSENT_PART,)
            )
