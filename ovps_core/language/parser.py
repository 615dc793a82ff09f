"""Parser of phrases: "the mug's rim" is the part "rim" of the object "mug"."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator

from ovps_core.errors import QueryError
from ovps_core.language.lexicon import lexicon, singular
from ovps_core.language.qualifiers import (
    are_attributes,
    are_kinds,
    continues,
    ends_phrase,
    find_negation,
    is_attribute,
    is_in_names,
    split_relation,
    without_conjunction,
    without_determiners,
    without_ornaments,
)
from ovps_core.language.wordnet import wordnet
from ovps_core.structures.query import PartQuery, RefusedQuery

MAX_LENGTH = 200
"""Maximum length of a phrase, characters."""


_FULL_STOP = re.compile(r"([^\s.,;]+)(\s*)\.+\s+(?=\w)")
"""The word before a full stop, and the blank between them."""


def parse_queries(text: str | Iterable[str | PartQuery]) -> tuple[PartQuery, ...]:
    """Queries from a text or a list. A text may hold several, separated by comma, semicolon, full stop or newline.

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
    """Split a text at comma, semicolon, full stop and newline; it has at least one phrase, which may be empty.

    A comma or full stop before words that exclude something or say where it is does not divide: "mug, next to the
    knife". A full stop in "no. 2" and "1.5" does not either.

    >>> split_phrases("mug. knife no. 2, fork.")
    ['mug', 'knife no. 2', 'fork']
    """
    phrases: list[str] = []
    divided = _FULL_STOP.sub(_as_comma, text)
    if divided != text:
        divided = divided.rstrip(" .")
    for line in re.split(r"[;\n]", divided):
        follows = False
        for piece in filter(None, map(str.strip, line.split(","))):
            if follows and continues(piece):
                phrases[-1] += f", {piece}"
            else:
                phrases.append(without_conjunction(piece) if follows else piece)
            follows = True
    return phrases or [text.strip()]


def _as_comma(stop: re.Match[str]) -> str:
    """A comma for a full stop that ends a phrase, and the text as it is for another one."""
    return f"{stop[1]}, " if ends_phrase(stop[1]) or stop[2] else stop[0]


def parse_query(text: str, *, threshold: float = 0.0, max_parts: int = 0) -> PartQuery:
    """Query from one phrase.

    Accepted forms are "knife handle", "handle of the knife", "the knife's handle", "handle", "knife", and verbs in
    the table of affordances: "cut with the knife", "something to pour from". Words that say where a thing is stay
    in the object: "mug next to the knife".

    Args:
        threshold, max_parts: see :class:`~ovps_core.structures.query.PartQuery`.

        >>> parse_query("handle of the knife").part
        'handle'
        >>> parse_query("please show me my mug").ignored
        ('please', 'show me', 'my')

    Raises:
        QueryError: the phrase excludes something, such as "not the knife"; otherwise see :func:`parse_queries`.
    """
    phrase, ornaments = without_ornaments(_normalise(text))
    ignored = list(ornaments)
    by_verb = _affordance(phrase, ignored)
    object_name, part_name = by_verb[:2] if by_verb else _read_thing(phrase, ignored)
    return PartQuery(
        text, object_name, part_name, threshold, max_parts, ignored=tuple(dict.fromkeys(ignored))
    )


def is_part_by_verb(query: PartQuery) -> bool:
    """Return True if a query names its part by what is done with it only: "cut with the knife"."""
    try:
        by_verb = _affordance(without_ornaments(_normalise(query.text))[0], [])
    except QueryError:
        return False
    return by_verb is not None and by_verb[1:] == (query.part, True)


def read_names(phrase: str) -> tuple[str, str]:
    """(object, part) of words in lower case, without requests and verbs; one of them may be empty."""
    return _read_thing(phrase, [])


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
    phrase = re.sub("[’‘]", "'", unicodedata.normalize("NFKC", text).lower())
    phrase = re.sub(r"\b(that|which|who|it)'s\b", r"\1 is", phrase)
    negation = find_negation(phrase)
    if negation is not None and singular(phrase) not in lexicon().objects:
        raise QueryError(
            f"{shown!r}: {negation!r} excludes something, which no model can do; name only what is wanted, "
            "such as 'knife handle'"
        )
    phrase = re.sub(r"[\"“”«»`()\[\]{}!?]|\.$", " ", phrase)
    phrase = re.sub(r"(?<!\w)'|'(?!\w)(?<!s')|(?:'s|')\s*$", " ", phrase)
    phrase = re.sub(r"(?<=\w)[-‐‑–—−]+(?=\w)|[_,]", " ", phrase)
    phrase = " ".join(phrase.split())
    if not re.search(r"\w", phrase):
        raise QueryError(f"query without words: {shown!r}; expected words like 'knife handle'")
    return phrase


def _bare(phrase: str, ignored: list[str]) -> str:
    """Phrase in the singular, without leading determiners; ``ignored`` gets those that choose or count."""
    bare, dropped = without_determiners(phrase)
    ignored += dropped
    return singular(bare)


def _affordance(phrase: str, ignored: list[str]) -> tuple[str, str, bool] | None:
    """(object, part, True if the verb says the part) of a verb in the table, alone or with an object, or None."""
    request = re.sub(
        r"^(?:(?:something|anything|a thing|where) (?:to |i can |you can |for )|to )+", "", phrase
    )
    table = lexicon().affordances
    for verb in sorted(table, key=len, reverse=True):
        if request == verb and request != phrase:
            return "", table[verb].part, True
        if request.startswith(f"{verb} ") and (request != phrase or _is_verb(verb, phrase)):
            thing = re.sub(r"^(?:with|from) ", "", request[len(verb) + 1 :])
            named = re.match(r"(.+?) (?:by|at) (?:the|its) (.+)", thing)
            if named and named[2] in lexicon().parts:
                return _read_thing(named[1], ignored)[0], singular(named[2]), False
            object_name, part_name = _read_thing(thing, ignored)
            if object_name and not part_name:
                return object_name, table[verb].part_of(_head_object(object_name)), True
            return object_name, part_name, False
    return None


def _is_verb(verb: str, phrase: str) -> bool:
    """Return True if a verb is one where it begins a phrase: not in "grip of the knife" and "drink can"."""
    rest = phrase[len(verb) + 1 :]
    thing = re.sub(r"^(?:with|from) ", "", rest)
    head, relation, _ = split_relation(thing)
    if relation and not head:
        return False
    if not is_in_names(verb) or rest != thing or without_determiners(thing)[0] != thing:
        return True
    known, names = lexicon(), [*map(singular, _beginnings(phrase))]
    if any(name in known.objects or name in known.parts for name in names):
        return False  # a "push broom"
    if any(name in wordnet().rows or name.replace(" ", "") in wordnet().rows for name in names):
        return False  # "cut glass", "pick axe"
    while is_attribute(head.partition(" ")[0]) and " " in head:
        head = head.partition(" ")[2]
    object_name, part_name = _read_noun_phrase(singular(head))
    if not object_name:
        return part_name in known.parts and verb not in known.objects  # the handle of a scoop
    return any(tail in known.objects or tail in known.groups for tail in _endings(object_name))


def _beginnings(phrase: str) -> list[str]:
    """The first words of a phrase, two or more."""
    words = phrase.split()
    return [" ".join(words[:end]) for end in range(2, len(words) + 1)]


def _endings(phrase: str) -> list[str]:
    """The last words of a phrase, all of them first."""
    words = phrase.split()
    return [" ".join(words[start:]) for start in range(len(words))]


def _head_object(phrase: str) -> str:
    """The object of the lexicon that a phrase is about: "drawer" for "top drawer of the cabinet"."""
    tails = _endings(split_relation(phrase)[0])
    return next((lexicon().objects[tail] for tail in tails if tail in lexicon().objects), phrase)


def _read_thing(phrase: str, ignored: list[str]) -> tuple[str, str]:
    """(object, part) of a phrase with or without a relation.

    "handle of the mug" is a part of an object. In "mug on the table" and "mug handle next to the knife" the whole
    phrase is the object, since the words after the relation belong to its meaning.
    """
    phrase = _bare(phrase, ignored)
    if phrase in lexicon().objects:
        return phrase, ""
    head, relation, rest = split_relation(phrase)
    if not relation:
        return _read_noun_phrase(phrase)
    if head and rest and relation in ("of", "on", "from") and _is_part(head, relation):
        return _bare(rest, ignored), singular(head)
    return phrase, ""


def _is_part(head: str, relation: str) -> bool:
    """Return True if the words before "of", "on" or "from" name a part, so that the relation names its object."""
    object_name, part_name = _split_noun_phrase(head)
    if relation == "of" and singular(head) in lexicon().parts:
        return True  # the door of an oven; but a door on a table is a thing
    return not _ends_in_object_name(object_name if part_name else singular(head))


def _read_noun_phrase(phrase: str) -> tuple[str, str]:
    """(object, part) of a phrase without a relation."""
    object_name, part_name = _split_noun_phrase(phrase)
    possessive = re.match(r"(.+?)(?:'s|(?<=s)') (.+)", phrase)
    if possessive and object_name not in lexicon().objects:  # "chef's knife" is a name
        return singular(possessive[1]), singular(possessive[2])
    return object_name, part_name


def _split_noun_phrase(phrase: str) -> tuple[str, str]:
    """(object, part) of a noun phrase: the longest known part at its end, and the words before it."""
    known = lexicon()
    phrase = _apart(singular(phrase))
    if phrase in known.objects:
        return phrase, ""
    words = phrase.split()
    for start in range(len(words)):
        tail = " ".join(words[start:])
        if tail in known.parts or singular(tail) in known.parts:
            object_name, part_name = singular(" ".join(words[:start])), singular(tail)
            # A "kitchen drawer" is a drawer, but a "gas oven door" is a part of an oven.
            kind_of_object = part_name in known.objects and _is_kind(object_name, part_name)
            return (phrase, "") if kind_of_object else (object_name, part_name)
    return phrase, ""


def _apart(phrase: str) -> str:
    """Phrase with a blank in its last word if that is an object and its part: "door knob" for "doorknob"."""
    known = lexicon()
    head, blank, word = phrase.rpartition(" ")
    if any(word in names for names in (known.objects, known.parts, known.not_objects)):
        return phrase
    for cut in range(len(word) - 1, 1, -1):
        if word[:cut] in known.objects and word[cut:] in known.parts:
            if word in wordnet().rows and word not in known.compounds:
                return phrase
            return f"{head}{blank}{word[:cut]} {word[cut:]}"
    return phrase


def _is_kind(words: str, name: str) -> bool:
    """Return True if words before the name of an object say what kind it is, and not what it belongs to."""
    if not words:
        return False
    if are_attributes(words) or words in lexicon().parts:  # "handle door" is no door of a handle
        return True
    is_kind = are_kinds(words, name)  # a "sliding glass door", but the door of a "washing machine"
    is_artefact = is_kind is False and any(tail in wordnet().rows for tail in _endings(words))
    return bool(is_kind) or not (is_artefact or _ends_in_object_name(words))


def _ends_in_object_name(phrase: str) -> bool:
    """Return True if the phrase ends in the name of an object."""
    known = lexicon()
    return any(tail in known.objects or tail in known.not_objects for tail in _endings(phrase))
