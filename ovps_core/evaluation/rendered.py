"""A model on rendered scenes it never saw: every part asked for by name, and things that are not there."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ovps_core.errors import DatasetError, QueryError
from ovps_core.evaluation.benchmark_scores import without_nan
from ovps_core.evaluation.folder import AnsweredQuery, ask
from ovps_core.evaluation.queries import QueryAccumulator, QueryFigures
from ovps_core.evaluation.rendered_questions import Group, QuerySampler, Question, Synonyms
from ovps_core.pipeline.postprocess.components import SegmentOptions
from ovps_core.structures.query import PartQuery
from ovps_core.synthetic.reader import RenderedScenes
from ovps_core.synthetic.settings import Level, RenderSettings, require_render_extra

if TYPE_CHECKING:
    from ovps_core.segmenter import PartSegmenter

# Thresholds as a user has them; a scene is asked more at once than a user would, so no answer is cut off.
OPTIONS = replace(SegmentOptions(), max_parts=100_000)


@dataclass
class GroupFigures:
    """Figures of one row.

    Attributes:
        queries: adds up every query of the group.
        overlapping: how many present queries got an answer that overlaps the truth.
    """

    queries: QueryAccumulator = field(default_factory=QueryAccumulator)
    overlapping: int = 0

    def figures(self) -> QueryFigures:
        """Over all queries of the group."""
        return self.queries.figures()

    @property
    def recall(self) -> float:
        """Share of present queries whose answer overlaps the truth at all (IoU above 0)."""
        present = self.figures().present
        return self.overlapping / present if present else float("nan")

    @property
    def mean_of_categories(self) -> float:
        """Mean over (object, part) of each one's mean IoU: rare ones weigh as much as frequent ones."""
        means = [f.mean_iou for _, f in self.queries.categories() if f.present]
        return float(np.mean(means)) if means else float("nan")


@dataclass(frozen=True)
class RenderedResult:
    """A whole run.

    Attributes:
        dataset: level, split and seed, or the folder.
        scenes: pictures asked about.
        groups: the table's rows; those that were not asked are not there.
        refused: words that the model could not be asked for, counted as no answer -> queries.
    """

    dataset: str
    model: str
    scenes: int
    groups: dict[Group, GroupFigures]
    refused: dict[str, int]

    def pairs(self) -> list[tuple[str, bool, QueryFigures]]:
        """(name, seen in training, figures) of each (object, part) that was there, sorted."""
        rows = [
            (f"{name} {part}", group is Group.SEEN, figures)
            for group in (Group.SEEN, Group.UNSEEN)
            if group in self.groups
            for (name, part), figures in self.groups[group].queries.categories()
        ]
        return sorted(rows)

    def as_dict(self) -> dict[str, Any]:
        """Every figure, ready for JSON."""
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


def test_scenes(level: Level, count: int, seed: int, folder: Path) -> RenderedScenes:
    """Scenes of shapes and seeds that no training sees, rendered into ``folder`` unless they are there.

    Raises:
        BackendError: nothing here can render.
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
    watch: Callable[[AnsweredQuery], None] | None = None,
) -> RenderedResult:
    """Ask about the first ``count`` scenes, all questions about a scene in one pass of the network.

    A query's answer is the union of the parts reported at the default thresholds. A word that the model
    refuses counts as no answer.

    Args:
        synonyms: words to ask the same questions in.
        watch: called with every answered pair.

    Raises:
        DatasetError: a scene's part map names pairs that the folder does not list.
    """
    questioner = QuerySampler(scenes.pairs, frozenset(scenes.held_out_pairs), synonyms)
    answerer = _Answerer(segmenter)
    groups: dict[Group, GroupFigures] = {}
    total = min(count, len(scenes))
    for index in tqdm(range(total), unit="scene", disable=None):
        rgb, parts = (np.array(array) for array in scenes.arrays(index)[:2])
        if parts.max() > len(scenes.pairs):
            raise DatasetError(
                f"{scenes.folder}: scene {index} has pair {parts.max()}, {len(scenes.pairs)} are listed"
            )
        questions = questioner.ask(parts, np.random.default_rng(index))
        for question, group, iou, mask in answerer.score(rgb, questions, groups):
            if watch is not None and group in (Group.SEEN, Group.UNSEEN):
                name = f"scene {index}"
                watch(AnsweredQuery(name, question.query, iou, rgb, question.truth, mask))
    settings = scenes.settings
    dataset = f"{settings['level']} {settings['split']} scenes, seed {settings['seed']}"
    rows = {group: groups[group] for group in Group if group in groups}
    return RenderedResult(dataset, segmenter.name, total, rows, answerer.refused)


class _Answerer:
    """Asks a segmenter and counts; remembers which queries it refuses."""

    def __init__(self, segmenter: PartSegmenter) -> None:
        self.segmenter = segmenter
        self.refused: dict[str, int] = {}
        self._askable: dict[PartQuery, bool] = {}

    def score(
        self, rgb: NDArray[np.uint8], questions: list[Question], groups: dict[Group, GroupFigures]
    ) -> Iterable[tuple[Question, Group, float, NDArray[np.bool_]]]:
        """Count every question of one picture in ``groups``; yields (question, row, IoU, answer)."""
        if not questions:
            return
        queries = [q.query for q in questions] + [q.synonym for q in questions if q.synonym]
        answers = self._ask(
            rgb,
            queries
            + [
                PartQuery(q.query.object, object=q.query.object)
                for q in questions
                if q.whole is not None
            ],
        )
        for question in questions:
            mask, probability = answers[question.query]
            for group in question.groups:
                row = groups.setdefault(group, GroupFigures())
                iou = row.queries.add(question.query, mask, probability, question.truth)
                row.overlapping += question.truth is not None and iou > 0
                yield question, group, iou, mask
            self._count_others(question, answers, groups)

    def _count_others(
        self,
        question: Question,
        answers: dict[PartQuery, tuple[NDArray[np.bool_], NDArray[np.float32]]],
        groups: dict[Group, GroupFigures],
    ) -> None:
        """The baselines of a pair, and the pair in held-out words."""
        others = []
        if question.whole is not None:
            name = question.query.object
            own = answers[PartQuery(name, object=name)]
            others.append((Group.OWN_OBJECT, own))
            true = (question.whole, question.whole.astype(np.float32))
            others.append((Group.TRUE_OBJECT, true))
        if question.synonym is not None:
            others.append((Group.SYNONYM, answers[question.synonym]))
            others.append((Group.SYNONYM_KNOWN, answers[question.query]))
            if self._askable[question.synonym]:
                others.append((Group.SYNONYM_READ, answers[question.synonym]))
                others.append((Group.SYNONYM_READ_KNOWN, answers[question.query]))
        for group, (mask, probability) in others:
            row = groups.setdefault(group, GroupFigures())
            iou = row.queries.add(question.query, mask, probability, question.truth)
            row.overlapping += iou > 0

    def _ask(
        self, rgb: NDArray[np.uint8], queries: list[PartQuery]
    ) -> dict[PartQuery, tuple[NDArray[np.bool_], NDArray[np.float32]]]:
        """Query -> (answer bool [H, W], probability float32 [H, W])."""
        height, width = rgb.shape[:2]
        asked = [query for query in dict.fromkeys(queries) if self._can_ask(query)]
        found, probabilities = ask(
            self.segmenter, rgb, self.segmenter.encode_queries(asked), OPTIONS
        )
        silence = np.zeros((height, width), dtype=bool), np.zeros((height, width), np.float32)
        answers = {query: silence for query in queries}
        for query, probability in zip(asked, probabilities, strict=True):
            answers[query] = found.mask_of(query), probability
        return answers

    def _can_ask(self, query: PartQuery) -> bool:
        if query not in self._askable:
            try:
                self.segmenter.encode_queries([query])
                self._askable[query] = True
            except QueryError:
                self._askable[query] = False
        if not self._askable[query]:
            self.refused[query.text] = self.refused.get(query.text, 0) + 1
        return self._askable[query]
