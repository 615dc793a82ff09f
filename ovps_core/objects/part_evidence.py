"""Evidence for the parts of an object whose name is known, from the maps of any part model."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ovps_core.errors import QueryError
from ovps_core.language.lexicon import lexicon
from ovps_core.models.interface import EncodedQueries, ModelSpec, QueryEncoder
from ovps_core.pipeline.encoded_image import EncodedImage
from ovps_core.pipeline.postprocess.components import sigmoid
from ovps_core.pipeline.preprocess import RgbImage
from ovps_core.structures.query import PartQuery

WHOLE = ""
"""Name of the part that is the whole object."""
_MAX_CACHED = 256
_MIN_PROBABILITY = 1e-4
_RIVALRY = 4  # power of the ratio to the most probable part; 1 lets a blade pass for a handle
# Added to the logit of a part: where its object is known, the part is likelier.
_KNOWN_OBJECT_LOGIT = 1.0


@dataclass(frozen=True)
class _Names:
    """Encoded names of one object and parts of it, and which maps show each of these parts."""

    encoded: EncodedQueries
    rows: Mapping[str, tuple[int, ...]]


class PartEvidence:
    """Maps of the parts of an object, given that the pixels show this object.

    A part model answers "knife handle" where pixels look like a handle *and* like a knife. Where the object is
    known, the second question is settled: the map of "handle" alone counts too. What is left open is which of the
    object's parts a pixel shows, so the parts compete.

    Args:
        query_encoder: encoder of the part model.
        spec: of the part model.
        encode: encodes an image once.
        decode: logits float32 [Q, h, w] of an encoded image for encoded queries.
    """

    def __init__(
        self,
        query_encoder: QueryEncoder,
        spec: ModelSpec,
        encode: Callable[[RgbImage], EncodedImage],
        decode: Callable[[EncodedImage, EncodedQueries], NDArray[np.float32]],
    ) -> None:
        self._query_encoder = query_encoder
        self.encode, self._decode = encode, decode
        self._vocabulary = spec.vocabulary
        height, width = spec.preprocessing.size
        self.aspect = width / height
        self._names = functools.lru_cache(_MAX_CACHED)(self._encode_names)
        self._canonical = functools.lru_cache(_MAX_CACHED)(self._find_canonical)

    def names_of(self, query: PartQuery) -> tuple[str, ...]:
        """Names of the objects that a query may be about: of a group all members, of a part alone all owners.

        Empty for a part alone in a model that takes any words.
        """
        read = query.read_as or query
        if read.object:
            return tuple(read.object.split(", "))
        if self._vocabulary is None:
            return ()
        parts = self.parts_of(query)
        owners = (name for name, part in self._vocabulary.object_parts if part in parts)
        return tuple(dict.fromkeys(owners))

    @staticmethod
    def parts_of(query: PartQuery) -> tuple[str, ...]:
        """Names of the parts that a query asks for; :data:`WHOLE` for the whole object."""
        return tuple((query.read_as or query).part.split(", "))

    def canonical(self, name: str) -> str:
        """One name for an object and its synonyms: "mug" for "cup"; of a closed vocabulary its own."""
        return self._canonical(name)

    def maps(
        self, image: EncodedImage, name: str, parts: Sequence[str]
    ) -> dict[str, NDArray[np.float32]]:
        """Logits float32 [h, w] that a pixel shows a part, given that it shows the object; by part.

        Args:
            image: the image or a crop, of :attr:`encode`.
            name: of the object.
            parts: the parts, and :data:`WHOLE`; those that the model cannot answer are left out.
        """
        shown: dict[str, NDArray[np.float32]] = {}
        for names in self._names(name, tuple(parts)):
            logits = self._decode(image, names.encoded)
            for part, rows in names.rows.items():
                shown.setdefault(part, sigmoid(logits[list(rows)].max(0)))
        whole = shown.pop(WHOLE, None)
        result = {}
        if shown:
            best = np.maximum(np.maximum.reduce(list(shown.values())), _MIN_PROBABILITY)
            result = {
                part: _logit(shown[part] * (shown[part] / best) ** _RIVALRY) + _KNOWN_OBJECT_LOGIT
                for part in parts
                if part in shown
            }
        if whole is not None and WHOLE in parts:
            result[WHOLE] = _logit(whole) + _KNOWN_OBJECT_LOGIT
        return result

    def extent(self, image: EncodedImage, name: str) -> NDArray[np.float32] | None:
        """Logits float32 [h, w] that a pixel shows the object: the object itself, or any of its parts.

        None if the model does not know the object.
        """
        shown = [
            self._decode(image, names.encoded)[[rows[0] for rows in names.rows.values()]].max(0)
            for names in self._names(name, ())
        ]
        return np.asarray(np.maximum.reduce(shown), np.float32) if shown else None

    def _encode_names(self, name: str, parts: tuple[str, ...]) -> tuple[_Names, ...]:
        """Names of an object and its parts, in as many groups as a model needs that takes so many at once."""
        known = dict.fromkeys(part for part in parts if part != WHOLE)
        if self._vocabulary is not None:
            known |= {part: None for owner, part in self._vocabulary.object_parts if owner == name}
        whole = {WHOLE: [PartQuery(name, object=name)]}
        left = {
            part: [PartQuery(f"{name} {part}", name, part), PartQuery(part, part=part)]
            for part in known
        }
        groups: list[_Names] = []
        while left or not groups:
            asked = whole | left
            group = self._encode_group(asked)
            fit = {part: rows for part, rows in group.rows.items() if len(rows) == len(asked[part])}
            left = {part: queries for part, queries in left.items() if part not in fit}
            if (
                self._vocabulary is not None or not fit.keys() - whole
            ):  # asking again would not help
                left = {}
            elif left:
                group = _Names(group.encoded, fit)
            groups.append(group)
        return tuple(group for group in groups if group.rows)

    def _encode_group(self, asked: Mapping[str, Sequence[PartQuery]]) -> _Names:
        """Names that the model accepts in one call."""
        try:
            encoded = self._query_encoder.encode([one for row in asked.values() for one in row])
        except QueryError:  # the model knows neither the object nor its parts
            encoded = self._query_encoder.encode(())
        row = {query: i for i, query in enumerate(encoded.queries)}
        rows = {part: tuple(row[q] for q in queries if q in row) for part, queries in asked.items()}
        return _Names(encoded, {part: found for part, found in rows.items() if found})

    def _find_canonical(self, name: str) -> str:
        plain = name.strip().lower()
        if self._vocabulary is None:
            return lexicon().objects.get(plain, plain)
        accepted, _ = self._query_encoder.read(
            [PartQuery(plain or "object", object=plain or "object")]
        )
        return accepted[0].read_as.object if accepted and accepted[0].read_as else plain


def _logit(probability: NDArray[np.float32]) -> NDArray[np.float32]:
    safe = np.clip(probability, _MIN_PROBABILITY, 1 - _MIN_PROBABILITY)
    return np.asarray(np.log(safe / (1 - safe)), np.float32)
