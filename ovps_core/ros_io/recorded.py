"""Answers from a recording of PartMasks in place of a model, to test what uses them without weights."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ovps_core.errors import CheckpointError, ImageError, QueryError, RecordingError
from ovps_core.language.selection import Selectors, asks_for_all_parts, read_selection
from ovps_core.models.interface import (
    Conditions,
    EncodedQueries,
    QueryEncoder,
    QueryRows,
    require_accepted,
)
from ovps_core.pipeline.postprocess.components import SegmentOptions
from ovps_core.pipeline.preprocess import RgbImage
from ovps_core.ros_io.codec import PART_MASKS, masks_value, nanoseconds
from ovps_core.structures.cache_folder import expand_home
from ovps_core.structures.masks import PartMask, PartMasks
from ovps_core.structures.query import PartQuery, RefusedQuery
from ovps_core.structures.requirements import require_packages

PREFIX = "recorded:"
"""A model of this name is a recording: ``recorded:PATH`` or ``recorded:PATH:TOPIC``."""


def is_recorded(model: str) -> bool:
    """Return whether the name of a model stands for a recording."""
    return model.startswith(PREFIX)


class RecordedQueries(QueryEncoder):
    """Reads the queries that a recording has answers for; others are refused.

    Args:
        known: the queries of the recording.
    """

    def __init__(self, known: Sequence[PartQuery]) -> None:
        self._known: dict[tuple[str, str, str], PartQuery] = {}
        for query in known:
            self._known.setdefault(_key(query), query)

    def read(
        self, queries: Sequence[PartQuery]
    ) -> tuple[tuple[PartQuery, ...], tuple[RefusedQuery, ...]]:
        """See :meth:`QueryEncoder.read`."""
        texts = tuple(dict.fromkeys(query.text for query in self._known.values()))
        accepted: list[PartQuery] = []
        refused: list[RefusedQuery] = []
        for query in queries:
            found = self._find(query)
            accepted += found
            if not found:
                reason = f"{query.text!r} is not in the recording; it has {', '.join(texts)}"
                refused.append(RefusedQuery(query.text, reason, texts))
        return tuple(dict.fromkeys(accepted)), tuple(refused)

    def _find(self, query: PartQuery) -> list[PartQuery]:
        """The recorded queries that a query stands for: several for "all parts of the mug", none if unknown."""
        same_text = [known for known in self._known.values() if known.text == query.text]
        if not query.which and same_text:
            return [
                replace(
                    known,
                    threshold=query.threshold,
                    max_parts=query.max_parts,
                    given=query,
                    all_parts=asks_for_all_parts(query),
                )
                for known in same_text
            ]
        try:
            query = read_selection(query, Selectors(objects=True, depth=True))
        except QueryError:
            return []
        known = self._known.get(_key(query))
        return [replace(query, read_as=known.read_as)] if known else []

    def encode(self, queries: Sequence[PartQuery]) -> EncodedQueries:
        """See :meth:`QueryEncoder.encode`; there is no network, so the conditions are zeros."""
        accepted, refused = self.read(queries)
        require_accepted(accepted, refused)
        rows = (QueryRows(names=(0,)),) * len(accepted)
        return EncodedQueries(accepted, Conditions.placeholder(1), rows, refused)


class RecordedSegmenter:
    """Segmenter that repeats recorded masks; it takes the place of a ``PartSegmenter`` in the node.

    An image whose stamp is that of a recorded answer gets this answer, as when the recording's images are played.
    Others get the answers in turn, from the first again after the last.

    Args:
        source: name of the model, ``recorded:PATH`` with a rosbag2 folder or file, and ``:TOPIC`` if the recording
            has several topics of PartMasks.

    Raises:
        MissingDependencyError: rosbags is not installed.
        RecordingError: the recording cannot be read, or has no PartMasks.
    """

    runs_on = "a recording"

    def __init__(self, source: str) -> None:
        path, _, topic = source.removeprefix(PREFIX).partition(":")
        answers = read_answers(expand_home(path), topic)
        self._answers = [masks for _, masks in answers]
        self._by_stamp = dict(answers)
        self._next = 0
        self.name = f"recording of {self._answers[0].model}"
        known = dict.fromkeys(query for masks in self._answers for query in masks.queries)
        self.query_encoder: QueryEncoder = RecordedQueries(tuple(known))

    def warm_up(self, *, batch: int = 1) -> None:
        """Nothing is left to do: the recording was read when this object was made."""

    def encode_queries(self, queries: Sequence[PartQuery]) -> EncodedQueries:
        """Choose the queries that the recording answers.

        Raises:
            QueryError: it answers none of them.
        """
        return self.query_encoder.encode(queries)

    def read(
        self, queries: Sequence[PartQuery]
    ) -> tuple[tuple[PartQuery, ...], tuple[RefusedQuery, ...]]:
        """Divide queries into those that the recording answers and the others."""
        return self.query_encoder.read(queries)

    def segment_frames(
        self,
        images: Sequence[RgbImage],
        stamps_ns: Sequence[int],
        queries: EncodedQueries,
        options: SegmentOptions,
    ) -> list[PartMasks]:
        """Recorded answers for images, with the parts of ``queries`` that pass the thresholds of ``options``.

        Args:
            images: RGB uint8 [H, W, 3]; only their sizes are looked at.
            stamps_ns: their stamps, nanoseconds.
            queries: result of :meth:`encode_queries`.
            options: thresholds; that of pixels has no effect.

        Raises:
            ImageError: an image is of another size than the recorded ones.
        """
        return [
            self._answer(image, stamp, queries, options)
            for image, stamp in zip(images, stamps_ns, strict=True)
        ]

    def _answer(
        self, image: RgbImage, stamp_ns: int, queries: EncodedQueries, options: SegmentOptions
    ) -> PartMasks:
        recorded = self._by_stamp.get(stamp_ns)
        if recorded is None:
            recorded = self._answers[self._next % len(self._answers)]
            self._next += 1
        height, width = image.shape[:2]
        if (height, width) != (recorded.height, recorded.width):
            raise ImageError(
                f"image of {width}x{height} pixels; the recorded masks are of {recorded.width}x{recorded.height}"
            )
        asked = {_key(query): query for query in queries.queries}
        parts: list[PartMask] = []
        counts: Counter[tuple[PartQuery, int]] = Counter()  # as a model with objects counts
        for part in recorded.parts:
            query = asked.get(_key(part.query))
            if query is None or part.score < (query.threshold or options.score_threshold):
                continue
            owner = query, part.object_id
            room = counts[owner] < (query.max_parts or options.max_parts)
            if part.area >= options.min_area and room and len(parts) < options.max_parts:
                parts.append(replace(part, id=len(parts) + 1, query=query, track_id=0))
                counts[owner] += 1
        return PartMasks(
            height,
            width,
            queries.queries,
            tuple(parts),
            self.name,
            queries.refused,
            recorded.objects,
        )


def _key(query: PartQuery) -> tuple[str, str, str]:
    """Names by which a query of a recording is found again."""
    return query.object, query.part, query.which


def read_answers(path: Path, topic: str = "") -> list[tuple[int, PartMasks]]:
    """(stamp in nanoseconds, masks) of every PartMasks of a recording, in the order recorded.

    Args:
        path: rosbag2 folder, or its single .mcap or .db3 file.
        topic: topic of the masks; may be empty if there is one only.

    Raises:
        MissingDependencyError: rosbags is not installed.
        RecordingError: the recording cannot be read, or has no such topic, or nothing on it, or a damaged message.
    """
    require_packages("rosbags", extra="bags")
    from ovps_core.ros_io.bags.damage import MessageReader, deserialize
    from ovps_core.ros_io.bags.reading import open_bag

    with open_bag(path) as reader:
        topics = sorted({c.topic for c in reader.connections if c.msgtype == PART_MASKS})
        if topic not in topics and (topic or len(topics) != 1):
            there = ", ".join(topics) or "none"
            wanted = topic or "one topic of ovps_ros/PartMasks"
            raise RecordingError(
                f"{path} has these topics of masks: {there}; expected {wanted}. Name it as "
                f"{PREFIX}{path}:TOPIC"
            )
        chosen = [c for c in reader.connections if c.topic == (topic or topics[0])]
        answers = []
        for connection, _, raw in MessageReader(reader, chosen):
            try:
                message = deserialize(reader, raw, connection.msgtype)
                answers.append((nanoseconds(message.header.stamp), masks_value(message)))
            except (RecordingError, ImageError, QueryError) as error:
                raise RecordingError(
                    f"{path}, message {len(answers) + 1} on {connection.topic}: {error}"
                ) from error
    if not answers:
        raise RecordingError(f"{path} has no message on {topic or topics[0]}")
    return answers


def check_recorded(model: str) -> None:
    """Check that the recording of a model's name exists.

    Raises:
        CheckpointError: it does not.
    """
    path = expand_home(model.removeprefix(PREFIX).partition(":")[0])
    if not os.path.exists(path):  # a folder that may not be entered is none
        raise CheckpointError(f"no recording at {path}; expected {PREFIX}PATH of a rosbag2 folder")
