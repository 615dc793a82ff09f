"""What is asked of one rendered scene: everything that it shows, and things that it does not."""

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

VISIBLE = 50
SMALL = 150
_SIDE = 224  # VISIBLE and SMALL are pixels of pictures this wide


class Group(Enum):
    """Queries that are reported together; the value is the row's title."""

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
    ABSENT_PART = "part that the object has not"


@dataclass(frozen=True)
class Question:
    """One query and its true answer.

    Attributes:
        truth: bool [H, W]; None where the scene does not show it.
        groups: the rows it counts for.
        whole: bool [H, W], the true whole object, for the queries that name an object and a part.
        synonym: the same asked in words held out from the lexicon.
    """

    query: PartQuery
    groups: tuple[Group, ...]
    truth: NDArray[np.bool_] | None = field(default=None, repr=False)
    whole: NDArray[np.bool_] | None = field(default=None, repr=False)
    synonym: PartQuery | None = None


@dataclass(frozen=True)
class Synonyms:
    """Other words for known ones: name -> words."""

    objects: Mapping[str, Sequence[str]]
    parts: Mapping[str, Sequence[str]]

    @classmethod
    def read(cls, path: Path) -> Synonyms:
        """From YAML with the keys ``objects`` and ``parts``, lines like ``handle: [lever]``.

        Raises:
            DatasetError: the file cannot be read, or has another form.
        """
        try:
            content = yaml.safe_load(path.read_text("utf-8"))
            tables = [
                {str(name): tuple(map(str, words)) for name, words in content[kind].items()}
                for kind in ("objects", "parts")
            ]
        except (OSError, yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
            raise DatasetError(
                f"cannot read the synonyms in {path}: {error}; expected the keys 'objects' and "
                "'parts' with lines like `handle: [lever, holder]`"
            ) from error
        return cls(*tables)

    def of(self, name: str, part: str, rng: np.random.Generator) -> PartQuery | None:
        """ "part of the object" with a held-out word for one of them; None where there is none."""
        said = [f"{word} of the {name}" for word in self.parts.get(part, ())]
        said += [f"{part} of the {word}" for word in self.objects.get(name, ())]
        return parse_query(str(rng.choice(said))) if said else None


@dataclass(frozen=True)
class QuerySampler:
    """Asks about scenes of one rendered folder.

    A part is asked for where at least ``VISIBLE`` pixels of it show in a picture of 224 x 224 (in proportion
    in others); one that shows less is asked for neither as present nor as absent.

    Attributes:
        pairs: (object, part); pixel value i + 1 of a part map is ``pairs[i]``.
        held_out: pairs never trained together.
        synonyms: held-out words, if they are to be asked.
    """

    pairs: Sequence[tuple[str, str]]
    held_out: frozenset[tuple[str, str]]
    synonyms: Synonyms | None = None

    def ask(self, parts: NDArray[np.uint8], rng: np.random.Generator) -> list[Question]:
        """The questions about a part map uint8 [H, W]; ``rng`` draws absent things and synonyms."""
        counts = np.bincount(parts.ravel(), minlength=len(self.pairs) + 1)
        shown = [value for value in range(1, len(self.pairs) + 1) if counts[value]]
        return [
            *self._pairs(parts, shown, rng),
            *self._names(parts, shown),
            *self._absent([self.pairs[value - 1][0] for value in shown], rng),
        ]

    def _pairs(
        self, parts: NDArray[np.uint8], shown: Sequence[int], rng: np.random.Generator
    ) -> Iterator[Question]:
        for value in shown:
            pair, truth = self.pairs[value - 1], parts == value
            share = np.count_nonzero(truth) / parts.size * _SIDE**2
            if share < VISIBLE:
                continue
            siblings = [v for v in shown if self.pairs[v - 1][0] == pair[0]]
            groups = [Group.UNSEEN if pair in self.held_out else Group.SEEN]
            groups += [Group.SMALL] if share < SMALL else []
            yield Question(
                query=PartQuery(" ".join(pair), object=pair[0], part=pair[1]),
                groups=tuple(groups),
                truth=truth,
                whole=np.isin(parts, siblings),
                synonym=self.synonyms.of(*pair, rng) if self.synonyms else None,
            )

    def _names(self, parts: NDArray[np.uint8], shown: Sequence[int]) -> Iterator[Question]:
        for column, group in ((0, Group.OBJECT), (1, Group.PART)):
            for name in dict.fromkeys(self.pairs[value - 1][column] for value in shown):
                values = [v for v in shown if self.pairs[v - 1][column] == name]
                truth = np.isin(parts, values)
                if np.count_nonzero(truth) / parts.size * _SIDE**2 < VISIBLE:
                    continue
                query = (
                    PartQuery(name, object=name)
                    if group is Group.OBJECT
                    else PartQuery(name, part=name)
                )
                yield Question(query, (group,), truth)

    def _absent(self, shown: Sequence[str], rng: np.random.Generator) -> Iterator[Question]:
        """For each object shown: one that is not, with one of its parts and alone; a part it has not."""
        objects = list(dict.fromkeys(shown))
        others = sorted({name for name, _ in self.pairs} - set(objects))
        for name in rng.choice(others, size=min(len(objects), len(others)), replace=False):
            part = str(rng.choice([p for o, p in self.pairs if o == name]))
            pair = PartQuery(f"{name} {part}", object=str(name), part=part)
            for query in (pair, PartQuery(str(name), object=str(name))):
                yield Question(query, (Group.ABSENT_OBJECT,))
        for name in objects:
            own = {p for o, p in self.pairs if o == name}
            part = str(rng.choice(sorted({p for _, p in self.pairs} - own)))
            yield Question(
                PartQuery(f"{name} {part}", object=name, part=part), (Group.ABSENT_PART,)
            )
