"""Evaluation of a model on rendered scenes, with queries about present and absent parts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ovps_core.errors import DatasetError, QueryError
from ovps_core.evaluation.folder import AnsweredQuery, answer_queries, answers_as_asked
from ovps_core.evaluation.query_metrics import QueryAccumulator, QueryMetrics
from ovps_core.evaluation.query_sampler import Group, QuerySampler, SampledQuery, Synonyms
from ovps_core.pipeline.postprocess.components import SegmentOptions
from ovps_core.structures.query import PartQuery
from ovps_core.structures.whole_files import without_nan
from ovps_core.synthetic.reader import RenderedScenes
from ovps_core.synthetic.settings import IGNORED, Level, RenderSettings, require_render_extra

if TYPE_CHECKING:
    from ovps_core.segmenter import PartSegmenter

Answer = tuple[NDArray[np.bool_], NDArray[np.float32]]
"""Mask bool [H, W], and probability float32 [H, W] before any threshold."""

Answers = dict[PartQuery, Answer]

OPTIONS = replace(SegmentOptions(), max_parts=100_000)
"""The default thresholds, without a limit on parts: a scene gets more queries at once than usual."""


@dataclass
class GroupResult:
    """Result of one group of queries.

    Attributes:
        queries: every query of the group.
        overlapping: number of present queries whose answer overlaps the truth.
    """

    queries: QueryAccumulator = field(default_factory=QueryAccumulator)
    overlapping: int = 0

    def metrics(self) -> QueryMetrics:
        """Compute the metrics of all queries of the group."""
        return self.queries.metrics()

    @property
    def recall(self) -> float:
        """Share of present queries whose answer overlaps the truth at all (IoU above 0)."""
        present = self.metrics().present
        return self.overlapping / present if present else float("nan")

    @property
    def mean_of_categories(self) -> float:
        """Mean over (object, part) of each one's mean IoU; rare ones weigh as much as frequent ones."""
        means = [f.mean_iou for _, f in self.queries.categories() if f.present]
        return float(np.mean(means)) if means else float("nan")


@dataclass(frozen=True)
class RenderedResult:
    """Result of an evaluation on rendered scenes.

    Attributes:
        dataset: level, split and seed of the scenes.
        model: name of the weights.
        scenes: number of scenes.
        groups: result of each group that has a query.
        refused: number of queries of each refused phrase; they count as no answer.
    """

    dataset: str
    model: str
    scenes: int
    groups: dict[Group, GroupResult]
    refused: dict[str, int]

    def pairs(self) -> list[tuple[str, bool, QueryMetrics]]:
        """List name, seen in training, and metrics of each present (object, part), sorted."""
        rows = [
            (f"{name} {part}", group is Group.SEEN, metrics)
            for group in (Group.SEEN, Group.UNSEEN)
            if group in self.groups
            for (name, part), metrics in self.groups[group].queries.categories()
        ]
        return sorted(rows)

    def as_dict(self) -> dict[str, Any]:
        """Return every metric, ready for JSON."""
        groups = {
            group.value: {
                "recall": row.recall,
                "mean_of_categories": row.mean_of_categories,
                **row.queries.as_dict(),
            }
            for group, row in self.groups.items()
        }
        head = {"dataset": self.dataset, "model": self.model, "scenes": self.scenes}
        content: dict[str, Any] = without_nan({**head, "refused": self.refused, "groups": groups})
        return content


def render_test_scenes(level: Level, count: int, seed: int, folder: Path) -> RenderedScenes:
    """Render scenes of the test split, whose shapes and seeds no training uses.

    Args:
        level: "tabletop" or "wild".
        count: number of scenes.
        seed: of the scenes.
        folder: scenes that are already there are not rendered again.

    Raises:
        MissingDependencyError: the packages for rendering are not installed.
        BackendError: off-screen OpenGL cannot start here.
        DatasetError: the folder holds scenes of other settings.
    """
    require_render_extra()
    from ovps_core.synthetic.generate import generate

    return RenderedScenes(
        generate(folder, RenderSettings(level=level, split="test", count=count, seed=seed))
    )


def evaluate_rendered(
    scenes: RenderedScenes,
    segmenter: PartSegmenter,
    *,
    count: int,
    synonyms: Synonyms | None = None,
    on_answer: Callable[[AnsweredQuery], None] | None = None,
) -> RenderedResult:
    """Query the first ``count`` scenes, with all queries about a scene in one pass of the network.

    The answer to a query is the union of the parts reported at the default thresholds. A query that the
    model refuses counts as no answer. Pixels of unknown content, value 255 of a part map, do not count.

    Args:
        scenes: the scenes.
        segmenter: the model.
        count: number of scenes.
        synonyms: words for additional queries.
        on_answer: called with every answer to a query about an object and its part.

    Raises:
        DatasetError: a part map has values that the folder does not list.
    """
    sampler = QuerySampler(scenes.object_parts, frozenset(scenes.held_out_object_parts), synonyms)
    scorer = _SceneScorer(segmenter)
    groups: dict[Group, GroupResult] = {}
    total = min(count, len(scenes))
    for index in tqdm(range(total), unit="scene", disable=None):
        rgb, parts = (np.array(array) for array in scenes.arrays(index)[:2])
        known = parts != IGNORED
        if np.any(parts[known] > len(scenes.object_parts)):
            raise DatasetError(
                f"{scenes.folder}: the part map of scene {index} has the value {parts[known].max()}; expected "
                f"at most {len(scenes.object_parts)}, the number of listed object parts, or {IGNORED} for "
                "unknown content."
            )
        sampled = sampler.sample(parts, np.random.default_rng(index))
        for query, group, iou, mask in scorer.score(rgb, known, sampled, groups):
            if on_answer is not None and group in (Group.SEEN, Group.UNSEEN):
                name = f"scene {index}"
                on_answer(AnsweredQuery(name, query.query, iou, rgb, query.truth, mask))
    settings = scenes.settings
    dataset = f"{settings['level']} {settings['split']} scenes, seed {settings['seed']}"
    rows = {group: groups[group] for group in Group if group in groups}
    return RenderedResult(dataset, segmenter.name, total, rows, dict(scorer.refused))


class _SceneScorer:
    """Queries a segmenter about scenes and counts the answers and the refused queries."""

    def __init__(self, segmenter: PartSegmenter) -> None:
        self.segmenter = segmenter
        self.refused: Counter[str] = Counter()

    def score(
        self,
        rgb: NDArray[np.uint8],
        known: NDArray[np.bool_],
        sampled: list[SampledQuery],
        groups: dict[Group, GroupResult],
    ) -> Iterable[tuple[SampledQuery, Group, float, NDArray[np.bool_]]]:
        """Count every query of one scene in ``groups``; yield query, group, IoU and answer.

        Answers at pixels where ``known`` bool [H, W] is False are dropped.
        """
        if not sampled:
            return
        queries = [q.query for q in sampled] + [q.synonym for q in sampled if q.synonym]
        whole_objects = [_whole_object(q) for q in sampled if q.whole is not None]
        distinct = list(dict.fromkeys(queries + whole_objects))
        answers = self._answer(rgb, known, distinct)
        self.refused.update(query.text for query in distinct if query not in answers)
        for query in sampled:
            mask, probability = answers.get(query.query) or _no_answer(rgb)
            for group in query.groups:
                iou = _count(groups, group, query, mask, probability)
                yield query, group, iou, mask
            for group, answer in _comparisons(query, answers):
                _count(groups, group, query, *(answer or _no_answer(rgb)))

    def _answer(
        self, rgb: NDArray[np.uint8], known: NDArray[np.bool_], queries: list[PartQuery]
    ) -> Answers:
        """Answer the queries in one pass of the network; refused queries are not in the result."""
        try:
            encoded = self.segmenter.encode_queries(queries)
        except QueryError:  # the model refuses every query of the scene
            return {}
        found, probabilities = answer_queries(self.segmenter, rgb, encoded, OPTIONS)
        return {
            query: (mask & known, probability * known)
            for query, mask, probability in answers_as_asked(found, encoded.queries, probabilities)
        }


def _comparisons(sampled: SampledQuery, answers: Answers) -> Iterable[tuple[Group, Answer | None]]:
    """Yield answers to compare with: for the whole object, and for the synonym; None if refused."""
    if sampled.whole is not None:
        yield Group.OWN_OBJECT, answers.get(_whole_object(sampled))
        yield Group.TRUE_OBJECT, (sampled.whole, sampled.whole.astype(np.float32))
    if sampled.synonym is not None:
        known, synonym = answers.get(sampled.query), answers.get(sampled.synonym)
        yield Group.SYNONYM, synonym
        yield Group.SYNONYM_KNOWN, known
        if synonym is not None:
            yield Group.SYNONYM_READ, synonym
            yield Group.SYNONYM_READ_KNOWN, known


def _no_answer(rgb: NDArray[np.uint8]) -> Answer:
    height, width = rgb.shape[:2]
    return np.zeros((height, width), dtype=bool), np.zeros((height, width), dtype=np.float32)


def _whole_object(sampled: SampledQuery) -> PartQuery:
    name = sampled.query.object
    return PartQuery(name, object=name)


def _count(
    groups: dict[Group, GroupResult],
    group: Group,
    sampled: SampledQuery,
    mask: NDArray[np.bool_],
    probability: NDArray[np.float32],
) -> float:
    """Count one answer in one group; return its IoU."""
    result = groups.setdefault(group, GroupResult())
    iou = result.queries.add(sampled.query, mask, probability, sampled.truth)
    result.overlapping += sampled.truth is not None and iou > 0
    return iou
