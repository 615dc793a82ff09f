"""Parser of phrases: "the mug's rim" is the part "rim" of the object "mug"."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from ovps_core.errors import QueryError
from ovps_core.language.lexicon import lexicon, singular
from ovps_core.structures.query import PartQuery, RefusedQuery

MAX_LENGTH = 200
"""Maximum length of a phrase, characters."""


def parse_queries(text: str | Iterable[str | PartQuery]) -> tuple[PartQuery, ...]:
    """Queries from a text or a list. A text may hold several, separated by comma, semicolon or newline.

    A repeated text gives one query. Synonyms give separate queries.

        >>> [(q.object, q.part) for q in parse_queries("knife handle; the mug's rim")]
        [('knife', 'handle'), ('mug', 'rim')]

    Raises:
        QueryError: a text is empty, too long, or holds control characters; the message quotes it.
    """
    return tuple(dict.fromkeys(_parsed([text] if isinstance(text, str) else text)))


def read_queries(
    items: Iterable[str | PartQuery],
) -> tuple[tuple[PartQuery, ...], tuple[RefusedQuery, ...]]:
    """Parse queries as :func:`parse_queries` does, but collect phrases that cannot be parsed.

    Returns:
        The queries, and the refused phrases.
    """
    queries: list[PartQuery] = []
    refused: list[RefusedQuery] = []
    for item in items:
        for phrase in [item] if isinstance(item, PartQuery) else split_phrases(item):
            try:
                queries += _parsed([phrase])
            except QueryError as error:
                refused.append(RefusedQuery(str(phrase), str(error)))
    return tuple(dict.fromkeys(queries)), tuple(refused)


def _parsed(items: Iterable[str | PartQuery]) -> Iterator[PartQuery]:
    for item in items:
        if isinstance(item, PartQuery):
            yield item
        else:
            yield from map(parse_query, split_phrases(item))


def split_phrases(text: str) -> list[str]:
    """Split a text at comma, semicolon and newline; the result has at least one phrase, which may be empty."""
    pieces = [piece.strip() for piece in re.split(r"[,;\n]", text)]
    return [piece for piece in pieces if piece] or [text.strip()]


def parse_query(text: str, *, threshold: float = 0.0, max_parts: int = 0) -> PartQuery:
    """Query from one phrase; see :func:`read_phrase` for the forms of a phrase.

    Args:
        threshold, max_parts: see :class:`~ovps_core.structures.query.PartQuery`.

        >>> parse_query("handle of the knife").part
        'handle'

    Raises:
        QueryError: see :func:`parse_queries`.
    """
    object_name, part_name = read_phrase(text)
    return PartQuery(text, object_name, part_name, threshold, max_parts)


def read_phrase(text: str) -> tuple[str, str]:
    """Return (object_name, part_name) of one phrase; one of them may be empty.

    Accepted forms are "knife handle", "handle of the knife", "the knife's handle", "handle", "knife", and verbs in
    the table of affordances: "cut with the knife", "something to pour from".

    Raises:
        QueryError: see :func:`parse_queries`.
    """
    phrase = _normalise(text)
    by_verb = _affordance(phrase)
    if by_verb is not None:
        return by_verb
    relation = re.match(r"(.+?) (?:of|on|from) (.+)", phrase)
    if relation:
        return singular(_strip_article(relation[2])), singular(_strip_article(relation[1]))
    object_name, part_name = _split_noun_phrase(_strip_article(phrase))
    possessive = re.match(r"(.+?)(?:'s|(?<=s)') (.+)", phrase)
    if possessive and object_name not in lexicon().objects:  # "chef's knife" is a name
        return singular(_strip_article(possessive[1])), singular(_strip_article(possessive[2]))
    return object_name, part_name


def _normalise(text: str) -> str:
    """Phrase in lower case, without quotes and with single spaces; QueryError if it has no words."""
    shown = text if len(text) <= 60 else f"{text[:60]}..."
    if len(text) > MAX_LENGTH:
        raise QueryError(
            f"query of {len(text)} characters, at most {MAX_LENGTH} are read: {shown!r}"
        )
    if any(unicodedata.category(char) in ("Cc", "Cs", "Co") for char in text.strip()):
        raise QueryError(
            f"query with control characters: {shown!r}; expected words like 'knife handle'"
        )
    phrase = unicodedata.normalize("NFKC", text).lower().replace("’", "'")
    phrase = re.sub(r"[\"“”«»`()\[\]{}!?]|\.$", " ", phrase)
    phrase = re.sub(r"(?<!\w)'|'(?!\w)(?<!s')", " ", phrase)
    phrase = " ".join(phrase.replace("_", " ").split())
    if not re.search(r"\w", phrase):
        raise QueryError(f"query without words: {shown!r}; expected words like 'knife handle'")
    return phrase


def _strip_article(phrase: str) -> str:
    """Phrase without leading articles and determiners."""
    bare = re.sub(r"^(?:(?:the|a|an|this|that|my|your|its|one|some|any|all|each) )+", "", phrase)
    return bare.strip() or phrase


def _affordance(phrase: str) -> tuple[str, str] | None:
    """(object_name, part_name) of a verb in the table, alone or with an object; None for other phrases."""
    request = re.sub(
        r"^(?:please |(?:find |show me )?(?:something|anything|a thing|where) (?:to |i can |you can |for )|to )+",
        "",
        phrase,
    )
    table = lexicon().affordances
    for verb in sorted(table, key=len, reverse=True):
        if request == verb and request != phrase:
            return "", table[verb].part
        if request.startswith(f"{verb} "):
            thing = _strip_article(request[len(verb) + 1 :])
            thing = _strip_article(re.sub(r"^(?:with|from) ", "", thing))
            named = re.match(r"(.+?) (?:by|at) (?:the|its) (.+)", thing)
            object_name, part_name = (
                (named[1], singular(named[2])) if named else _split_noun_phrase(thing)
            )
            if object_name and not part_name:
                canonical = lexicon().objects.get(object_name, object_name)
                return object_name, table[verb].part_of(canonical)
            return object_name, part_name
    return None


def _split_noun_phrase(phrase: str) -> tuple[str, str]:
    """(object, part) of a noun phrase: the longest known part at its end, and the words before it."""
    known = lexicon()
    phrase = singular(phrase)
    if phrase in known.objects:
        return phrase, ""
    words = phrase.split()
    for start in range(len(words)):
        tail = " ".join(words[start:])
        if tail in known.parts or singular(tail) in known.parts:
            object_name, part_name = singular(" ".join(words[:start])), singular(tail)
            # A "kitchen drawer" is a drawer, but a "gas oven door" is a part of an oven.
            kind_of_object = (
                object_name and part_name in known.objects and not _ends_in_object_name(object_name)
            )
            return (phrase, "") if kind_of_object else (object_name, part_name)
    return phrase, ""


def _ends_in_object_name(phrase: str) -> bool:
    """Return True if the phrase ends in the name of an object."""
    known, words = lexicon(), phrase.split()
    tails = [" ".join(words[start:]) for start in range(len(words))]
    return any(tail in known.objects or tail in known.not_objects for tail in tails)
