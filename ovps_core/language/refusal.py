"""Reasons why a model with a fixed vocabulary cannot answer a query."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ovps_core.errors import QueryError
from ovps_core.language.lexicon import lexicon, singular
from ovps_core.language.parser import is_part_by_verb, read_names
from ovps_core.language.qualifiers import (
    are_attributes,
    are_kinds,
    ends_phrase,
    find_negation_in_name,
    is_article,
    is_attribute,
    is_command,
    is_compound,
    is_conjunction,
    split_position,
    split_relation,
)
from ovps_core.language.resolver import MAX_HINTS, Kind, hint, listed, nearest_names, resolve
from ovps_core.language.spelling import meant_qualifier
from ovps_core.language.wordnet import wordnet
from ovps_core.structures.query import PartQuery, RefusedQuery

_SIDE = re.compile(r"(?:port|starboard|off|lee|windward|driver|passenger|same|other|opposite) side")
"""Sides that say which one, beside those with an attribute such as "left"."""
_OTHER_MODEL = "clipseg-rd64-refined (any words; needs PyTorch)."


def explain_refusal(
    query: PartQuery,
    objects: Sequence[str],
    parts: Sequence[str],
    object_parts: Sequence[tuple[str, str]],
) -> RefusedQuery:
    """Explain why a model cannot answer ``query``: the words that it cannot use, and what to ask instead.

    Args:
        objects, parts, object_parts: the model's vocabulary; ``object_parts`` as (object, part).
    """
    reason, nearest = (
        _explain_relation(query, objects, parts)
        or _explain_qualifier(query, objects, parts, object_parts)
        or _explain_unknown_name(query, objects, parts, object_parts)
    )
    return RefusedQuery(query.text, f"{query.text!r}: {reason}", tuple(nearest[:MAX_HINTS]))


def _explain_relation(
    query: PartQuery, objects: Sequence[str], parts: Sequence[str]
) -> tuple[str, list[str]] | None:
    """Reason for a phrase that says where a thing is, what it has, or joins two; None for other phrases."""
    head, relation, rest = split_relation(query.object)
    if not relation or query.object in lexicon().objects:
        return None
    if is_conjunction(relation):
        first, second = f"{head} {query.part}", f"{rest} {query.part}"
        separated = _separated(first, second, objects, parts)
        example = f": {separated!r}" if separated else ""
        return f"{relation!r} joins several queries; separate them by a comma{example}", []
    named = [_answerable(f"{name} {query.part}", objects, parts) for name in (head, rest)]
    if head in lexicon().affordances and not named[0]:
        return _cannot_use(f"{head} {relation}", named[1])  # "pour over kettle"
    counted = _known_names(f"{head} {query.part}", objects, parts)[0]
    words = _as_written(f"{relation} {rest}".strip(), query.text)
    is_counted = counted and relation == "from"  # "second mug from the left"
    return _cannot_use(f"{counted} ... {words}" if is_counted else words, named[0])


def _separated(first: str, second: str, objects: Sequence[str], parts: Sequence[str]) -> str:
    """The two queries that a conjunction joins, separated by a comma; empty if one of them is not known.

    The half without an object is about that of the other ("handle and blade of the knife"), and the first object
    without a part is asked for the part of the second ("knife and fork handles").
    """
    named = [_known_names(half, objects, parts) for half in (first, second)]
    if any(words or not (name or part) for words, name, part in named):
        return ""
    (_, object_1, part_1), (_, object_2, part_2) = named
    if object_1 and object_2:
        part_1 = part_1 or part_2
    pairs = ((object_1 or object_2, part_1), (object_2 or object_1, part_2))
    return ", ".join(f"{name} {part}".strip() for name, part in pairs)


def _answerable(phrase: str, objects: Sequence[str], parts: Sequence[str]) -> str:
    """The name in a phrase that the model can answer, without its qualifiers; empty if there is none."""
    _, object_name, part_name = _known_names(phrase, objects, parts)
    return f"{object_name} {part_name}".strip()


def _known_names(phrase: str, objects: Sequence[str], parts: Sequence[str]) -> tuple[str, str, str]:
    """(qualifiers, object, part) of a phrase; all are empty if a name is not known."""
    object_name, part_name = read_names(phrase.strip())
    of_object, object_known = _split_qualifier(object_name, objects, "object")
    of_part, part_known = _split_qualifier(part_name, parts, "part")
    if (object_name and not object_known) or (part_name and not part_known):
        return "", "", ""
    return f"{of_object} {of_part}".strip(), object_known, part_known


def _as_written(words: str, text: str) -> str:
    """``words`` with the last one as in ``text``, where the parser has put it into the singular.

    >>> _as_written("that cut", "the part that cuts")
    'that cuts'
    """
    head, _, last = words.rpartition(" ")
    written = (word for word in re.findall(r"[\w']+", text.lower()) if singular(word) == last)
    return f"{head} {next(written, last)}".strip()


def _cannot_use(words: str, asked: str) -> tuple[str, list[str]]:
    meant = " ".join(meant_qualifier(word) or word for word in words.split())
    if meant != words and find_negation_in_name(meant) is not None:
        return (
            f"{words!r} looks like {meant!r}, which no model can do; name only what is wanted",
            [],
        )
    alone = f"ask {asked!r} to get every one, or use" if asked else "use"
    reason = f"this model knows names only and cannot use {words!r}; {alone} {_OTHER_MODEL}"
    if meant != words:
        reason += f" Did you mean {f'{meant} {asked}'.strip()!r}?"
    if split_position(meant)[0]:
        reason += " With an object model it chooses among objects."
    return reason, [asked] if asked else []


def _explain_qualifier(
    query: PartQuery,
    objects: Sequence[str],
    parts: Sequence[str],
    object_parts: Sequence[tuple[str, str]],
) -> tuple[str, list[str]] | None:
    """Reason for words before or after a known name ("red mug"); None if no such name is left."""
    object_words, object_name = _split_qualifier(query.object, objects, "object")
    part_words, part_name = _split_qualifier(query.part, parts, "part")
    if not object_name and query.part and are_attributes(query.object):
        object_words, object_name = query.object, ""  # "red handle"
    elif query.object and not object_name:
        return None
    if (query.part and not part_name) or not (object_words or part_words):
        return None
    unused = " ".join(filter(None, (object_words, part_words)))
    plain_words = re.sub(r"[:.=]+$", "", object_words).strip()
    is_part = not are_attributes(plain_words) and _meant_by(plain_words, parts, "part")
    if object_name and not query.part and is_part:
        asked = f"{object_name} {plain_words}"
        return f"the part comes after its object; ask {asked!r}", [asked]
    if (object_name, part_name) not in object_parts and is_part_by_verb(query):
        part_name = ""  # "cut the red bowl": a bowl has no blade
    return _cannot_use(unused, f"{object_name} {part_name}".strip())


def _split_qualifier(phrase: str, known: Sequence[str], kind: Kind) -> tuple[str, str]:
    """("red", "mug") for "red mug"; ("", phrase) for a known name; ("", "") if no known name is left."""
    if not phrase or _meant_by(phrase, known, kind):
        return "", phrase
    words = phrase.split()
    is_a_thing = phrase in lexicon().not_objects or phrase in wordnet().rows
    if is_a_thing and not is_attribute(words[0]):
        return "", ""  # a "knife block" is no knife
    for start in range(1, len(words)):
        before, name = " ".join(words[:start]), " ".join(words[start:])
        if _meant_by(name, known, kind):
            several = any(
                _meant_by(word, known, kind) for word in words[:start] if not is_attribute(word)
            )
            is_part = singular(before) in lexicon().parts
            is_of_another = kind == "object" and not is_part and are_kinds(before, name) is False
            return ("", "") if several or is_of_another else (before, name)
        before, name = " ".join(words[-start:]), " ".join(words[:-start])
        if are_attributes(before) and _meant_by(name, known, kind):
            return before, name
    return "", ""


def split_kind(phrase: str, known: Sequence[str], kind: Kind) -> tuple[str, str]:
    """("pasta", "pot") for "pasta pot": words that say what kind of a known thing is meant; else ("", phrase).

    Words that say which one are none ("red mug"), nor are those that exclude something ("handleless mug"), name a
    part ("handle mug") or belong to a sentence ("hide the mug", "hide mug").
    """
    words, name = _split_qualifier(phrase, known, kind)
    related = split_relation(phrase)[1] or "'" in phrase
    is_part = kind == "object" and singular(words) in lexicon().parts
    is_side = _SIDE.fullmatch(words)  # but a "kitchen side" is none
    if not name or related or is_part or is_side or find_negation_in_name(words) is not None:
        return "", phrase
    if is_compound(words) or is_compound(f"{words} {name}"):
        return words, name  # "cast iron pan", "high chair"
    if kind == "object" and any(map(is_command, words.split()[:1])):
        return "", phrase  # but a "stop button" is a button, and a "multi use knife" a knife
    return (words, name) if all(map(_may_be_a_kind, words.split())) else ("", phrase)


def _may_be_a_kind(word: str) -> bool:
    """Return True for a word that may stand before a name to say its kind."""
    # neither "handle: mug" nor "--mug", "mug. knife" and "cup2 handle" have a kind
    is_word = re.fullmatch(r"[^\W\d_][\w.-]*", word) and not re.search(r"\d", word)
    if not is_word or (word.endswith(".") and ends_phrase(word[:-1])):
        return False
    which = is_attribute(word) or is_article(word) or word.endswith("less")
    return not which and meant_qualifier(word) is None


def _explain_unknown_name(
    query: PartQuery,
    objects: Sequence[str],
    parts: Sequence[str],
    object_parts: Sequence[tuple[str, str]],
) -> tuple[str, list[str]]:
    """Reason for a name that the model does not know."""
    object_name, part_name = query.object, query.part
    if object_name and not part_name:
        object_name, part_name = _object_and_rest(object_name, objects)
    known_objects = _meant_by(object_name, objects, "object")
    known_parts = _meant_by(part_name, parts, "part")
    if object_name and not known_objects:
        nearest = nearest_names(object_name, objects, "object")
        problem = f"no object {object_name!r}{hint(nearest)}"
        owners = [name for name, part in object_parts if part in known_parts]
        if owners:
            problem += f"; it knows {known_parts[0]} of {listed(owners)}"
    elif object_name:
        nearest = [part for name, part in object_parts if name in known_objects]
        problem = f"no {part_name!r} of {known_objects[0]}, but {listed(nearest)}"
    else:
        nearest = nearest_names(part_name, parts, "part")
        problem = f"no part {part_name!r}{hint(nearest)}"
    return (
        f"this model knows {problem}. `ovps models --words` lists all; or use {_OTHER_MODEL}",
        nearest,
    )


def _object_and_rest(phrase: str, objects: Sequence[str]) -> tuple[str, str]:
    """Split a phrase after a known object: ("knife", "antenna"); (``phrase``, "") if it begins with none."""
    words = singular(phrase).split()
    if phrase in lexicon().not_objects or phrase in wordnet().rows:
        return phrase, ""  # a "knife block" is not a knife
    for cut in range(len(words) - 1, 0, -1):
        head = " ".join(words[:cut])
        if _meant_by(head, objects, "object"):
            return head, " ".join(words[cut:])
    return phrase, ""


def _meant_by(word: str, known: Sequence[str], kind: Kind) -> list[str]:
    try:
        return [name for name, _ in resolve(word, known, kind)] if word else []
    except QueryError:
        return []
