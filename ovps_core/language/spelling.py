"""Correction of misspelt words: the known word that is one slip of the fingers away."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Collection, Iterable

from ovps_core.language.lexicon import lexicon, singular
from ovps_core.language.qualifiers import (
    attributes,
    excluding_words,
    is_attribute,
    is_real_word,
    split_relation,
)
from ovps_core.language.wordnet import wordnet

MIN_LETTERS = 5
"""Shorter words have too many real words one letter away."""
_MIN_LETTERS_REPLACED = 7  # a wrong letter changes a short word too much
_MIN_RATIO = 0.88  # of difflib: two slips in a word of 16 letters
_CONFUSED = {frozenset(pair) for pair in ("fv", "ck", "cs", "sz", "iy")}  # letters that sound alike
_ENDINGS_OF_KINDS = ("ing", "s", "er", "en", "ly")
_MIN_LETTERS_DOUBLED = 4
_VOWEL = re.compile("[aiou]|e(?!$)")  # "whte" has none
_DOUBLE = re.compile(r"(\w)\1")
_ENDINGS = ("ed", "er", "ing", "y")


def correct_spelling(phrase: str, names: Iterable[str]) -> tuple[str, tuple[str, ...]]:
    """Replace misspelt words of a phrase by known ones.

        >>> correct_spelling("mug hanlde", ["mug"])
        ('mug handle', ('hanlde',))

    A word of at least five letters is corrected to the one known word that it is a slip away from: two neighbours
    swapped, a letter missing or surplus, or in a long word a wrong one. Both begin with the same letter. Words of
    the lexicon, of WordNet and of the list ``real_words`` are left as they are.

    Args:
        names: the model's names; they come before the other words of the lexicon.

    Returns:
        The phrase, and the words that were replaced, as they were written.
    """
    preferred = _words(names)
    corrected = {
        word: meant
        for word in phrase.split()
        if (meant := _correct(word, preferred, _lexicon_words() | preferred)) is not None
    }
    return " ".join(corrected.get(word, word) for word in phrase.split()), tuple(corrected)


def meant_qualifier(word: str) -> str | None:
    """The attribute or the word that excludes something which ``word`` is a misspelling of; None if it is none.

    In a short word two neighbours may be swapped, a letter be doubled or not, or the only vowel be missing. From
    five letters on any may be missing, from seven on one may be wrong. Names and real words are one letter away
    too: "Tefal", "cute", "bento".

    >>> [meant_qualifier(word) for word in ("lft", "rde", "wihtout", "tefal", "pasta", "steak")]
    ['left', 'red', 'without', None, None, None]
    """
    if len(word) < 3 or not word.isalpha() or _is_real(word, _lexicon_words()):
        return None
    excluding = {w for w in excluding_words() if len(w) >= MIN_LETTERS or len(w) == len(word)}
    meant = [
        name
        for name in sorted(attributes() | excluding)
        if name[0] in word[:2] and word[0] in name[:2] and _is_one_slip(word, name)
        if name in excluding or _is_likely_slip(word, name)
    ]
    return meant[0] if meant else None


def _is_likely_slip(word: str, name: str) -> bool:
    """Return True for a slip, as of :func:`_is_one_slip`, that rarely makes another word."""
    if singular(word) == name or name == f"{word}d":
        return False  # "reds"; a "multi use knife" is no used one
    if len(word) == len(name) and sorted(word) == sorted(name):
        return True  # "letf"
    if len(word) >= _MIN_LETTERS_REPLACED:
        return not word.endswith(_ENDINGS_OF_KINDS)
    has_vowel = bool(_VOWEL.search(word))
    if len(word) < len(name) and (not has_vowel or len(word) >= MIN_LETTERS):
        return True  # "lft", "secnd"
    return len(word) >= _MIN_LETTERS_DOUBLED and _undoubled(word) == _undoubled(name)


def _undoubled(word: str) -> str:
    """A word with one letter of each two equal ones, and of "ck"."""
    return _DOUBLE.sub(r"\1", word.replace("ck", "k"))


def as_written(words: Iterable[str], text: str) -> tuple[str, ...]:
    """Words of a parsed phrase as they stand in its ``text``, with capitals and plurals."""
    written = re.findall(r"\w+", text)
    return tuple(next((w for w in written if w.lower().startswith(word)), word) for word in words)


@functools.cache
def _lexicon_words() -> frozenset[str]:
    words = lexicon()
    return _words([*words.objects, *words.parts, *words.groups])


def _words(names: Iterable[str]) -> frozenset[str]:
    return frozenset(word for name in names for word in re.split(r"[\s-]", name) if len(word) > 3)


def _correct(word: str, preferred: Collection[str], known: Collection[str]) -> str | None:
    """The one known word that ``word`` is a misspelling of; None if it is none."""
    if len(word) < MIN_LETTERS or not word.isalpha() or _is_real(word, known):
        return None
    meant = {name for name in known if name[0] == word[0] and _is_one_slip(word, name)}
    if not meant:
        begins = [name for name in known if name[0] == word[0]]
        meant = set(difflib.get_close_matches(word, begins, n=1, cutoff=_MIN_RATIO))
    meant = meant.intersection(preferred) or meant
    names = {lexicon().objects.get(name, lexicon().parts.get(name, name)) for name in meant}
    return min(meant) if len(names) == 1 and not _is_inflected(word, meant) else None


def _is_real(word: str, known: Collection[str]) -> bool:
    return (
        word in known
        or singular(word) in known
        or word in wordnet().words
        or is_attribute(word)
        or is_real_word(word)
        or bool(split_relation(f"x {word}")[1])
    )


def _is_inflected(word: str, meant: Iterable[str]) -> bool:
    """Return True for "handled" and "blader": real words made of a known one."""
    return any(word.startswith(name[:-1]) and word.endswith(_ENDINGS) for name in meant)


def _is_one_slip(word: str, name: str) -> bool:
    """Return True if two neighbours are swapped, or a letter is missing, surplus or wrong."""
    if abs(len(word) - len(name)) > 1 or word == name:
        return False
    start = next((i for i, (a, b) in enumerate(zip(word, name, strict=False)) if a != b), None)
    if start is None:
        return True  # the last letter is missing or surplus
    rest, expected = word[start:], name[start:]
    if len(word) != len(name):
        longer, shorter = sorted((rest, expected), key=len, reverse=True)
        return longer[1:] == shorter
    if rest[:2] == expected[1::-1] and rest[2:] == expected[2:]:
        return True
    is_replaced = rest[1:] == expected[1:]
    sounds_alike = frozenset((rest[0], expected[0])) in _CONFUSED
    return is_replaced and (len(word) >= _MIN_LETTERS_REPLACED or sounds_alike)
