"""HTML page with the best and worst images of an evaluation: ground truth left, prediction right."""

from __future__ import annotations

import heapq
import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ovps_core.evaluation.benchmark_result import ScoredItem
from ovps_core.evaluation.folder import AnsweredQuery
from ovps_core.language.vocabulary import IGNORE
from ovps_core.pipeline.drawing import colours, hex_colour
from ovps_core.structures.image_files import encode_image
from ovps_core.structures.whole_files import write_whole

MAX_PICTURES = 12
"""Number of best and of worst pictures."""

LONG_EDGE = 420
"""Longer side of each picture, pixels."""

STYLE = """\
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em; }
table { border-collapse: collapse; } td, th { padding: 2px 12px 2px 0; text-align: left; }
figure { display: inline-block; margin: 0 1em 1em 0; vertical-align: top; max-width: 100%; }
figure img { display: block; max-width: 100%; } figcaption span { margin-right: .8em; }
"""


Palette = Mapping[int, tuple[int, int, int]]
"""RGB colour of each class."""

Legend = tuple[tuple[str, str], ...]
"""Name and CSS colour of each class in a picture."""


@dataclass(frozen=True, order=True)
class _Picture:
    rank: float
    order: int
    title: str = field(compare=False)
    score: float = field(compare=False)
    jpeg: bytes = field(compare=False, repr=False)
    legend: Legend = field(compare=False)


class Gallery:
    """Collector of the pictures with the highest and the lowest IoU, in constant memory."""

    def __init__(self, names: Sequence[str] = ()) -> None:
        """Start empty; ``names`` are the class names of label maps, for the legend."""
        self._names = names
        self._order = count()
        self._best: list[_Picture] = []
        self._worst: list[_Picture] = []

    def add_item(self, item: ScoredItem) -> None:
        """Add one benchmark item, if it is among the best or the worst."""

        def draw() -> tuple[NDArray[np.uint8], Legend]:
            rows = sorted({int(row) for row in np.union1d(item.truth, item.predicted)} - {IGNORE})
            palette = dict(zip(rows, colours(len(rows)), strict=True))
            legend = tuple((self._names[row], hex_colour(palette[row])) for row in rows)
            return _side_by_side(item.image, item.truth, item.predicted, palette), legend

        self._offer(f"{item.name}, {item.setting.value}", item.miou, draw)

    def add_answer(self, answer: AnsweredQuery) -> None:
        """Add one answered query about a present part, if it is among the best or the worst."""
        truth = answer.truth
        if truth is None:
            return

        def draw() -> tuple[NDArray[np.uint8], Legend]:
            true, answered = (
                np.where(mask, 0, IGNORE).astype(np.int32) for mask in (truth, answer.mask)
            )
            return _side_by_side(answer.image, true, answered, {0: colours(1)[0]}), ()

        self._offer(f"{answer.name}: {answer.query.text}", answer.iou, draw)

    def _offer(
        self,
        title: str,
        score: float,
        draw: Callable[[], tuple[NDArray[np.uint8], Legend]],
    ) -> None:
        for heap, rank in ((self._best, score), (self._worst, -score)):
            if len(heap) < MAX_PICTURES or rank > heap[0].rank:
                picture, legend = draw()
                jpeg = encode_image(picture, ".jpg")
                entry = _Picture(rank, -next(self._order), title, score, jpeg, legend)
                (heapq.heappush if len(heap) < MAX_PICTURES else heapq.heappushpop)(heap, entry)

    def write(self, directory: Path, heading: str, tables: Sequence[str]) -> Path:
        """Write ``index.html`` and its pictures.

        Args:
            directory: folder of the page, created if needed.
            heading: title of the page.
            tables: HTML tables, shown above the pictures.

        Returns:
            Path of the page.
        """
        sections = []
        for title, heap in (("Best", self._best), ("Worst", self._worst)):
            figures = []
            for rank, picture in enumerate(sorted(heap, reverse=True), start=1):
                name = f"pictures/{title.lower()}_{rank:02}.jpg"
                write_whole(directory / name, picture.jpeg)
                figures.append(_figure(name, picture))
            sections.append(f"<h2>{title}</h2>\n" + "\n".join(figures))
        title = html.escape(heading)
        body = "\n".join(
            [f"<h1>{title}</h1>", *tables, "<p>Truth left, answer right.</p>", *sections]
        )
        page = directory / "index.html"
        write_whole(
            page,
            f'<!doctype html>\n<html lang="en"><meta charset="utf-8"><title>{title}</title>\n'
            f"<style>{STYLE}</style>\n{body}\n</html>\n",
        )
        return page


def _figure(path: str, picture: _Picture) -> str:
    swatches = "".join(
        f'<span><b style="color:{colour}">&#9632;</b> {html.escape(name)}</span>'
        for name, colour in picture.legend
    )
    caption = f"{html.escape(picture.title)}: IoU {picture.score:.2f}<br>{swatches}"
    return f'<figure><img src="{path}" alt=""><figcaption>{caption}</figcaption></figure>'


def _side_by_side(
    image: NDArray[np.uint8],
    truth: NDArray[np.int32],
    predicted: NDArray[np.int32],
    palette: Palette,
) -> NDArray[np.uint8]:
    scale = LONG_EDGE / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    views = [_overlay(small, labels, palette) for labels in (truth, predicted)]
    gap = np.full((size[1], 4, 3), 255, dtype=np.uint8)
    return np.hstack([views[0], gap, views[1]])


def _overlay(
    image: NDArray[np.uint8], labels: NDArray[np.int32], palette: Palette
) -> NDArray[np.uint8]:
    """Tint and outline the classes of a label map, which is resized to the image."""
    shrunk = cv2.resize(labels, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    tinted = image.copy()
    for row in np.unique(shrunk[shrunk != IGNORE]):
        mask, colour = shrunk == row, palette[int(row)]
        tinted[mask] = (0.5 * tinted[mask] + 0.5 * np.array(colour)).astype(np.uint8)
        contours, _ = cv2.findContours(
            mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
        )
        cv2.drawContours(tinted, contours, -1, colour, 1, cv2.LINE_AA)
    return tinted
