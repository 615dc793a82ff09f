"""Problems of a COCO file, each with its place, and the message that lists them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ovps_core.errors import DatasetError

_LISTED = 12  # problems that a message shows
_LONGEST = 300  # characters of one that are shown


@dataclass(frozen=True)
class Problem:
    """Something in a COCO file that cannot be used.

    Attributes:
        place: category, image or annotation, with its id.
        text: what is wrong, and what was expected.
    """

    place: str
    text: str

    def __str__(self) -> str:
        text = f"{self.place}: {self.text}"
        # Names may hold anything.
        whole = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
        return whole if len(whole) <= _LONGEST else f"{whole[:_LONGEST]} ..."


def list_problems(problems: Sequence[Problem]) -> str:
    """Format the first problems, one a line, and the number of the others."""
    lines = [f"  {problem}" for problem in problems[:_LISTED]]
    if len(problems) > _LISTED:
        lines.append(f"  and {len(problems) - _LISTED} more")
    return "\n".join(lines)


def refuse(table: Path, problems: Sequence[Problem]) -> None:
    """Raise a DatasetError that lists the problems of the file ``table``, unless there are none."""
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise DatasetError(
            f"{table} has {count}:\n{list_problems(problems)}\n"
            "Mend the file, or leave out what is broken and use the rest: --skip-broken, in a training recipe "
            "`data: {skip_broken: true}`."
        )
