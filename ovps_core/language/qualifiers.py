"""Qualifiers: the words of a phrase that are not the name of a thing.

>>> without_ornaments("please find the mug")
('the mug', ('please', 'find'))
>>> find_negation("everything but the knife")
'but'
>>> split_relation("mug next to the knife")
('mug', 'next to', 'the knife')
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ovps_core.language.lexicon import lexicon, read_words, singular
from ovps_core.language.wordnet import wordnet

_AFFIX = re.compile(
    r"(?<![\w-])(?:(?:non|anti)[ -]?|un-)(\w+)|(?!hands?\b)(?<!\w)(\w+)[ -]free(?![\w-])"
)
"""Prefixes and the suffix that exclude the name they stand at."""
_DASH = re.compile(r"(?<!\S)[-‐‑–—−]+(?=[^\W\d])")
"""A dash that stands at a name excludes it, as in search engines; one between blanks does not."""
_SIGN = re.compile(r"(?<!\S)[!¬~−-](?=[^\W\d])")
"""Other signs that exclude the name they stand at."""
_HYPHEN = re.compile(r"(?<=[^\W_])[_‐‑–—−~/-]+(?=[^\W_])")
"""A sign that joins words: "do-not-touch", "no_knife"."""
_QUOTE = re.compile(r"(?<!\w)'|'(?!\w)|(?<![^\W_])_|_(?![^\W_])")
"""A single quote or underscore at the beginning or the end of a word; within a word it is an apostrophe."""
_SIZE = re.compile(r"[#x×]?\d+(?:[.,/]\d+)?[a-z%°]{0,6}|m\d+")
"""Numbers, also with a unit: "2nd", "10mm", "1.5l", "2x", "M8"."""
_FORMS = re.compile(
    r"\w{3,}(?:most|teenth|tieth)|(?:left|right|up|down|for|back|in|out|rear|sky)wards?"
    r"|(?:left|right|top|bottom|upper|lower|inner|outer|far|near)hand(?:side)?"
    r"|(?:left|right|top|bottom|front|back|rear|upper|lower|inner|outer|far|near)side"
    r"|(?:north|south)?(?:north|south|east|west)(?:wards?)?"
)
"""Forms of words that say which one."""


@dataclass(frozen=True)
class _Qualifiers:
    """Words of ``resources/qualifiers.yaml``, most of them as patterns."""

    before: re.Pattern[str]
    after: re.Pattern[str]
    determiners: re.Pattern[str]
    articles: frozenset[str]
    negation: re.Pattern[str]
    negated: re.Pattern[str]
    leading: re.Pattern[str]
    harmless: re.Pattern[str]
    relation: re.Pattern[str]
    conjunctions: frozenset[str]
    attributes: frozenset[str]
    attributes_or_kinds: frozenset[str]
    compared: frozenset[str]
    not_compared: frozenset[str]
    kinds: Mapping[str, frozenset[str]]
    verbs_in_names: frozenset[str]
    real_words: frozenset[str]
    commands: frozenset[str]
    compounds: frozenset[str]
    abbreviations: frozenset[str]
    excluding: frozenset[str]
    position_before: re.Pattern[str]
    position_after: re.Pattern[str]
    positions: Mapping[str, str]


@functools.cache
def _qualifiers() -> _Qualifiers:
    words = read_words("qualifiers.yaml")
    ornaments, negations = words["ornaments"], words["negations"]
    joining = [word for word in words["conjunctions"] if not word[0].isalpha()]
    excluding = _any(negations["words"])
    positions = {word: which for which, row in words["positions"].items() for word in row}
    return _Qualifiers(
        before=re.compile(rf"({_any(ornaments['before'])}) (?=\S)"),
        after=re.compile(rf" ({_any(ornaments['after'])})$"),
        determiners=re.compile(rf"({_any([*words['articles'], *words['determiners']])}) (?=\S)"),
        articles=frozenset(words["articles"]),
        negation=re.compile(
            rf"(?<!\S)(?:{excluding}|\w+n't|do(?:no|n)t\w+)(?!\S)|{_any(negations['anywhere'])}|{_SIGN.pattern}"
        ),
        negated=re.compile(rf"(?<!\S)({excluding})-([\w-]+)(?!\S)"),
        leading=re.compile(rf"(?:do )?({excluding}|\w+n't) (.+)"),
        harmless=re.compile(
            rf"(?<!\S)(?:(?:non|no|zero)[ -][^\W\d]\w*|[^\W\d]\w*[ -]zero|{_any_joined(negations['harmless'])})"
            r"(?![^\W_])"
        ),
        relation=re.compile(
            rf"(?<!\S)({_any([*words['relations'], *words['conjunctions']])})(?!\S)"
            rf"|(?<=\w)({_any(joining)})(?=\w)"
        ),
        conjunctions=frozenset(words["conjunctions"]),
        attributes=frozenset([*words["attributes"], *positions]),
        attributes_or_kinds=frozenset(words["attributes_or_kinds"]),
        compared=frozenset([*words["attributes"], *words["compared"]]),
        not_compared=frozenset(words["not_compared"]),
        kinds={name: frozenset(row) for name, row in words["kinds"].items()},
        verbs_in_names=frozenset(words["verbs_in_names"]),
        real_words=frozenset(words["real_words"]),
        commands=frozenset(words["commands"]),
        compounds=frozenset(words["compounds"]),
        abbreviations=frozenset(words["abbreviations"]),
        excluding=frozenset(filter(str.isalpha, negations["words"])),
        position_before=re.compile(rf"({_any(positions)})(?: (?!of |to )|$)"),
        position_after=re.compile(  # "second from the left" counts
            rf"(?<!\bfrom)(?<!\bfrom the)(?<!\bfrom my) (?:(?:on|at|to|in) (?:the|my) )?({_any(positions)})"
            r"(?: side)?(?: (?:to|of|in) (?:the |my )?(?:me|us|you|robot|camera|gripper|picture|image|view))?$"
        ),
        positions=positions,
    )


def without_ornaments(phrase: str) -> tuple[str, tuple[str, ...]]:
    """A phrase without requests and courtesies at its ends, and these words."""
    before: list[str] = []
    after: list[str] = []
    words = _qualifiers()
    while match := words.before.match(phrase):
        before.append(match[1])
        phrase = phrase[match.end() :]
    while match := words.after.search(phrase):
        after.insert(0, match[1])
        phrase = phrase[: match.start()]
    return phrase, (*before, *after)


def without_determiners(phrase: str) -> tuple[str, tuple[str, ...]]:
    """A phrase without leading determiners, and those of them that choose or count ("my", "both")."""
    dropped: list[str] = []
    words = _qualifiers()
    while match := words.determiners.match(phrase):
        if match[1] not in words.articles:
            dropped.append(match[1])
        phrase = phrase[match.end() :]
    return phrase, tuple(dropped)


def find_negation(phrase: str) -> str | None:
    """The first word that excludes something ("not", "without", "!"); None if there is none.

    Hyphens, underscores and quotes hide none: "do-not-touch", "no_knife", "'no' knife". At a hyphen "no", "non",
    "zero" and "free" exclude only names: "no-knife" and "lid-free", but not "no-touch" and "hands-free". A dash at
    the beginning of a word excludes it too: "-knife", "--knife".
    """
    plain = re.sub(r"[^\w\s'/!¬~−-]", " ", phrase)
    if match := _qualifiers().negation.search(plain) or _DASH.search(phrase):
        return match[0]
    joined = _QUOTE.sub(" ", _HYPHEN.sub("-", plain))
    return _negation_at_name(joined) or _negation_in_words(joined)


def find_negation_in_name(name: str) -> str | None:
    """The first word that excludes something in a name of an object or a part, which may have lost its hyphens.

    >>> find_negation_in_name("no knife"), find_negation_in_name("non stick pan")
    ('no', None)
    """
    if match := _DASH.search(name) or _SIGN.search(name):
        return match[0]
    joined = _joined(name)
    return find_excluded_name(name) or _negation_at_name(joined) or _negation_in_words(joined)


def find_excluded_name(name: str) -> str | None:
    """The sign, affix or first word that excludes a known thing in the name of an object or a part.

    >>> [find_excluded_name(name) for name in ("no knife", "-blade", "no. 2 pencil", "Coke Zero can", "skip")]
    ['no', '-', None, None, None]
    """
    if singular(name.lower()) in {*lexicon().objects, *wordnet().rows}:
        return None  # such as "zero-turn mower"
    for sign in (*_DASH.finditer(name), *_SIGN.finditer(name)):
        if _begins_with_name(name[sign.end() :].lower().split()):
            return sign[0]
    joined = _joined(name)
    if negation := _negation_at_name(joined):
        return negation
    match = _qualifiers().leading.match(joined)
    if not match:
        return None
    words = match[2].split()
    if match[1] not in ("no", "zero"):  # "do not touch the knife", but a "no-touch soap dispenser"
        words = [*itertools.dropwhile(is_command, words)]
    return match[1] if _begins_with_name(words) else None


def _begins_with_name(words: list[str]) -> bool:
    """Return True if words begin with a known object or part, or are one, after articles."""
    rest = [*itertools.dropwhile(is_article, words)]
    names = {*lexicon().objects, *lexicon().parts}
    return bool(rest) and not names.isdisjoint((singular(rest[0]), singular(" ".join(rest))))


def _joined(name: str) -> str:
    """A name in lower case, without signs but for the hyphens that join words."""
    return _QUOTE.sub(" ", _HYPHEN.sub("-", re.sub(r"[^\w\s'-]", " ", name.lower()))).strip()


def _negation_at_name(phrase: str) -> str | None:
    """The first prefix or suffix that excludes the name which it stands at, with the name: "non-knife"."""
    names = lexicon()
    for match in (*_AFFIX.finditer(phrase), *_qualifiers().negated.finditer(phrase)):
        groups = filter(None, match.groups())
        excluded = {singular(word) for group in groups for word in (group, *group.split("-"))}
        if excluded & {*names.objects, *names.parts}:
            return match[0]
    return None


def _negation_in_words(phrase: str) -> str | None:
    """The first word that excludes something, also at a hyphen; words such as "non-stick" are left out."""
    words = _qualifiers()
    match = words.negation.search(words.harmless.sub(" ", phrase).replace("-", " "))
    return match[0] if match else None


def split_relation(phrase: str) -> tuple[str, str, str]:
    """(head, relation, rest) at the first relation or conjunction; (``phrase``, "", "") if there is none.

    The head is empty where the phrase begins with the relation: "on the table".
    """
    words = _qualifiers()
    for match in words.relation.finditer(phrase):
        relation = match[1] or match[2]
        if match.start() == 0 and relation in words.attributes:
            continue  # "left mug", but "mug on the left"
        return phrase[: match.start()].strip(), relation, phrase[match.end() :].strip()
    return phrase, "", ""


def is_conjunction(relation: str) -> bool:
    """Return True for a word or sign that joins two queries: "and", "/"."""
    return relation in _qualifiers().conjunctions


def without_conjunction(phrase: str) -> str:
    """A phrase without a conjunction at its start: the last of a list, "and fork"."""
    first, _, rest = phrase.partition(" ")
    return rest.strip() if rest.strip() and is_conjunction(first.lower()) else phrase


def continues(phrase: str) -> bool:
    """Return True if a phrase only makes sense after another one: "not the blade", "near the knife", "red"."""
    phrase = phrase.lower()
    negation = find_negation(phrase)
    if negation is not None and phrase.startswith(negation):
        return True
    head, relation, rest = split_relation(phrase)
    if relation and rest and not head:
        return not is_conjunction(relation)
    names = lexicon()
    is_name = any(word in names.parts or word in names.objects for word in phrase.split())
    return are_attributes(phrase) and not is_name


def are_attributes(phrase: str) -> bool:
    """Return True if a phrase only says which one: "left", "the red one"."""
    words = without_determiners(phrase)[0].split()
    which = words[:-1] if words[-1:] in (["one"], ["ones"]) else words
    return bool(which) and all(map(is_attribute, which))


def is_attribute(word: str) -> bool:
    """Return True for a word that says which one: a side, number, size, colour, material or state.

    >>> [is_attribute(word) for word in ("rearmost", "rustiest", "reddish", "10mm", "uncapped", "dinner")]
    [True, True, True, True, True, False]
    """
    words = _qualifiers()
    return (
        word in words.attributes
        or word in words.attributes_or_kinds
        or bool(_SIZE.fullmatch(word) or _FORMS.fullmatch(word))
        or _is_compared(word)
        or _is_participle(word)
    )


def is_attribute_of_a_name(word: str) -> bool:
    """Return True for a word that says which one even at the start of a name of WordNet: "paper bag".

    The cream of a "cream pitcher" is no colour.
    """
    return is_attribute(word) and word not in _qualifiers().attributes_or_kinds


def _is_compared(word: str) -> bool:
    """Return True for a superlative, and for "smoother" and "reddish", which are made of a known attribute."""
    words = _qualifiers()
    if word in words.not_compared:
        return False  # a "cleaner"
    if word.endswith("est") and len(word) > 5 and word not in wordnet().words:
        return True
    ending = re.fullmatch(r"(\w{2,})(?:er|ish)", word)
    if not ending:
        return False
    stem = ending[1]
    bases = {stem, f"{stem}e", re.sub(r"i$", "y", stem), re.sub(r"(\w)\1$", r"\1", stem)}
    return bool(bases & words.compared)


def _is_participle(word: str) -> bool:
    """Return True for "uncapped" and "jammed"; False for nouns and their words: "moped", "linseed"."""
    is_one = word.endswith("ed") and len(word) > 3 and not word.endswith("eed")
    names = lexicon()
    return is_one and not (word in wordnet().words or word in names.objects or word in names.parts)


def attributes() -> frozenset[str]:
    """The listed words that say which one."""
    return _qualifiers().attributes


def excluding_words() -> frozenset[str]:
    """The single words that exclude something."""
    return _qualifiers().excluding


def is_command(word: str) -> bool:
    """Return True for a bare verb of what to do with a thing: "hide", "remove"."""
    return word in _qualifiers().commands


def is_compound(words: str) -> bool:
    """Return True for words that say a kind although one of them says which one elsewhere: "cast iron"."""
    return words in _qualifiers().compounds


def ends_phrase(word: str) -> bool:
    """Return True if a full stop after a word ends a phrase: not after "no", a letter or a number."""
    plain = word.lower().strip("()\"'")
    return not (len(plain) == 1 or plain.isdigit() or plain in _qualifiers().abbreviations)


def is_article(word: str) -> bool:
    """Return True for an article and for a word that changes as little: "the", "every"."""
    return word in _qualifiers().articles


def split_position(phrase: str) -> tuple[str, str]:
    """(word of ``PartQuery.which``, the other words); ("", ``phrase``) if a phrase says no position.

    >>> split_position("left mug"), split_position("mug on the left"), split_position("nearest")
    (('left', 'mug'), ('left', 'mug'), ('nearest', ''))
    >>> split_position("second mug from the left")
    ('', 'second mug from the left')
    """
    words = _qualifiers()
    if match := words.position_before.match(phrase):
        return words.positions[match[1]], phrase[match.end() :].strip()
    if match := words.position_after.search(phrase):
        return words.positions[match[1]], phrase[: match.start()].strip()
    return "", phrase


def are_kinds(words: str, name: str) -> bool | None:
    """Return True if words say a kind of an object that is a part too: "sliding" for "door"; False for "dryer".

    Attributes may stand among them. None for any other object.
    """
    kinds = _qualifiers().kinds.get(name)
    if kinds is None:
        return None
    return all(word in kinds or is_attribute(word) for word in words.split())


def is_in_names(verb: str) -> bool:
    """Return True for a verb that names begin with too: the scoop of "scoop handle"."""
    return verb in _qualifiers().verbs_in_names


def is_real_word(word: str) -> bool:
    """Return True for a word that resembles a known one and is not a misspelling of it."""
    return word in _qualifiers().real_words


def _any_joined(compounds: Iterable[str]) -> str:
    """Pattern of words that are joined by a hyphen or a blank."""
    return _any(compounds).replace(r"\-", "[ -]")


def _any(phrases: Iterable[str]) -> str:
    """Pattern of alternatives, longest first."""
    return "|".join(map(re.escape, sorted(phrases, key=len, reverse=True)))
