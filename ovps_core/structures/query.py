"""Queries for parts, and phrases that a model cannot answer."""

from __future__ import annotations

from dataclasses import dataclass, field

from ovps_core.errors import QueryError

WHICH = (
    "each",
    "left",
    "right",
    "middle",
    "top",
    "bottom",
    "nearest",
    "farthest",
    "largest",
    "smallest",
)
"""Words that choose among the objects of one name. "each" means the best part of each object."""
BY_DEPTH = ("nearest", "farthest")
"""Those of them that need depth."""


@dataclass(frozen=True)
class ReadAs:
    """Names that a model took a query for.

    Attributes:
        object: object name, or several in alphabetical order for a group: "fork, knife, spoon"; may be empty.
        part: part name; may be empty.
    """

    object: str = ""
    part: str = ""

    def __str__(self) -> str:
        return f"{self.object} {self.part}".strip()


@dataclass(frozen=True)
class PartQuery:
    """One thing to look for: a part, usually of an object.

    :func:`ovps_core.language.parser.parse_query` makes one from a phrase.

    Attributes:
        text: the phrase, trimmed. Several queries have one text, if the phrase is about all parts of an object.
        object: object name, "knife"; empty for a part of any object.
        part: part name, "handle"; empty for the whole object.
        threshold: minimum score to report, 0..1; 0 uses the segmenter's threshold.
        max_parts: maximum number of parts to report, best first; 0 reports all. With an object model it counts
            for each object.
        which: the objects that are meant, one of :data:`WHICH`; empty for all.
        read_as: names that the model took the query for; None until a model has encoded it.
        given: the query as it was given, if reading its words made another one or several of it.
        corrected: words that the model took for misspellings, as they were written.
        ignored: words of the phrase that change nothing in the answer: "please", "my"; the whole text if it says
            something else than the names that are given beside it.
        all_parts: the query is one of those that a phrase for all parts of an object was made into.

    Queries are equal if their words and numbers are, however they were read.

    Raises:
        QueryError: neither an object nor a part is given, or a number is out of range.
    """

    text: str
    object: str = ""
    part: str = ""
    threshold: float = 0.0
    max_parts: int = 0
    which: str = ""
    read_as: ReadAs | None = field(default=None, compare=False)
    given: PartQuery | None = field(default=None, compare=False, repr=False)
    corrected: tuple[str, ...] = field(default=(), compare=False)
    ignored: tuple[str, ...] = field(default=(), compare=False)
    all_parts: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        if not self.object and not self.part:
            raise QueryError(
                f"{self.text!r} names neither an object nor a part; give object= or part=, "
                "or read a phrase with parse_query()"
            )
        if not 0.0 <= self.threshold <= 1.0:
            raise QueryError(f"the threshold of {self.text!r} is {self.threshold}; expected 0 to 1")
        if self.which and self.which not in WHICH:
            raise QueryError(
                f"which of {self.text!r} is {self.which!r}; expected {', '.join(WHICH)}, or nothing for all"
            )
        if self.max_parts < 0:
            raise QueryError(
                f"max_parts of {self.text!r} is {self.max_parts}; expected 0 (all) or more"
            )

    @property
    def label(self) -> str:
        """Short name of an answer: the text; of one of all parts which object, and the part: "left mug handle"."""
        if not self.all_parts:
            return self.text
        return " ".join(filter(None, (self.which, self.object, self.part)))


@dataclass(frozen=True)
class RefusedQuery:
    """A phrase that the model cannot answer. The other queries of the same list are answered.

    Attributes:
        text: the phrase as it was given.
        reason: one sentence: which word is unknown, or why the phrase cannot be read.
        nearest: known words that are close to the unknown one, nearest first; may be empty.
    """

    text: str
    reason: str
    nearest: tuple[str, ...] = ()
