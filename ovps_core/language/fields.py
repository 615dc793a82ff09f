"""Check of queries whose object and part are given and not read from a phrase."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ovps_core.errors import QueryError
from ovps_core.language.lexicon import lexicon, singular
from ovps_core.language.parser import parse_query
from ovps_core.language.qualifiers import find_excluded_name, find_negation
from ovps_core.structures.query import PartQuery


def check_fields(query: PartQuery) -> PartQuery:
    """Refuse names that exclude a known thing, and report a text that says something else than the names.

        >>> check_fields(PartQuery("mug handle", object="knife", part="blade")).ignored
        ('mug handle',)

    Returns:
        The query. Its ``ignored`` has the text if that was not read.

    Raises:
        QueryError: the object or the part excludes something, such as "no knife".
    """
    for field, name in (("object", query.object), ("part", query.part)):
        negation = find_excluded_name(name)
        if negation is not None:
            raise QueryError(
                f"{query.text!r}: {negation!r} in the {field} {name!r} excludes something, which no model can do; "
                "name only what is wanted, such as 'knife handle'"
            )
    if query.given is None and query.text not in query.ignored and _is_text_unread(query):
        return replace(query, ignored=(*query.ignored, query.text))
    return query


def _is_text_unread(query: PartQuery) -> bool:
    """Return True if the text excludes something, or by itself names another known object or part."""
    try:
        said = parse_query(query.text)
    except QueryError:
        return find_negation(query.text.lower()) is not None
    names = lexicon()
    return _differs(said.object, query.object, names.objects) or (
        _differs(said.part, query.part, names.parts)
        and query.part not in names.other_parts.get(said.part, ())
    )


def _differs(said: str, meant: str, known: Mapping[str, str]) -> bool:
    """Return True if a known name is not another word for the one that is meant."""
    meant = singular(meant.lower())
    return said in known and said != meant and known[said] != known.get(meant, meant)
