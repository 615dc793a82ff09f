"""Names in a mirror, where what is left of an object becomes right."""

from __future__ import annotations

from collections.abc import Sequence

_SWAPPED = {"left": "right", "right": "left"}


def mirrored_name(name: str) -> str:
    """The name of the same thing in a mirrored picture.

    >>> mirrored_name("rear left leg"), mirrored_name("handle")
    ('rear right leg', 'handle')
    """
    return " ".join(_SWAPPED.get(word, word) for word in name.split(" "))


def mirrored_rows(names: Sequence[tuple[str, ...]]) -> list[int | None]:
    """For each name, such as an (object, part), the row of its name in a mirror; None if that has no row.

    >>> mirrored_rows([("car", "left door"), ("car", "right door"), ("car", "hood"), ("car", "left mirror")])
    [1, 0, 2, None]
    """
    row_of = {name: row for row, name in enumerate(names)}
    mirrored = [tuple(map(mirrored_name, name)) for name in names]
    return [
        row if name == other else row_of.get(other)
        for row, (name, other) in enumerate(zip(names, mirrored, strict=True))
    ]
