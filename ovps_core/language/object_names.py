"""Names of objects and stuff, as plain words of the caller."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ovps_core.errors import QueryError
from ovps_core.language.parser import MAX_LENGTH, split_phrases


@dataclass(frozen=True)
class ObjectNames:
    """Names of things, which are counted, and of stuff, which is not.

    >>> ObjectNames.of(["knife, mug"], ["wall"]).all
    ('knife', 'mug', 'wall')

    Attributes:
        things: "knife", "person".
        stuff: "sky", "grass".
    """

    things: tuple[str, ...]
    stuff: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, things: str | Iterable[str] | ObjectNames, stuff: str | Iterable[str] = ()
    ) -> ObjectNames:
        """Read texts with one or more names each, separated by commas; a repeated name counts once.

        Raises:
            QueryError: there is no name, or an empty one.
        """
        if isinstance(things, ObjectNames):
            return things
        named = [_names(texts) for texts in (things, stuff)]
        if not any(named):
            raise QueryError('no names given; give at least one, such as "knife"')
        return cls(named[0], tuple(name for name in named[1] if name not in named[0]))

    @property
    def all(self) -> tuple[str, ...]:
        """Things, then stuff."""
        return self.things + self.stuff


def _names(texts: str | Iterable[str]) -> tuple[str, ...]:
    texts = [texts] if isinstance(texts, str) else list(texts)
    names = [name for text in texts for name in split_phrases(text)]
    if not all(names):
        raise QueryError(f"{', '.join(map(repr, texts))} holds an empty name; expected words")
    for name in names:
        if len(name) > MAX_LENGTH:
            raise QueryError(
                f"name of {len(name)} characters, at most {MAX_LENGTH} are read: {name[:60]!r}..."
            )
    return tuple(dict.fromkeys(names))
