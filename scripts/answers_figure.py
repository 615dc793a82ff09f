"""Picture of answers on a set of pictures: the best, those from the middle, and the worst.

Red is the answer, green the true outline, the number the mean IoU of the named parts.

    python -m scripts.answers_figure household docs/images/household.jpg
    python -m scripts.answers_figure tabletop wild DIR rendered.jpg  # DIR: labelled photographs or rendered scenes
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ovps_core import PartSegmenter
from ovps_core.datasets.coco_folder import CocoFolder
from ovps_core.evaluation.folder import AnsweredQuery, evaluate_folder
from ovps_core.evaluation.household import HOUSEHOLD
from ovps_core.evaluation.rendered import evaluate_rendered, render_test_scenes
from ovps_core.structures.image_files import save_image
from ovps_core.synthetic.reader import RenderedScenes, is_rendered
from ovps_core.synthetic.settings import LEVELS

SCENES, SEED = 96, 3
TILE, CAPTION = 300, 30
RED, GREEN = (230, 40, 40), (40, 230, 40)

Answers = list[AnsweredQuery]
"""Answers to the queries about parts that one picture shows."""


def ranked(source: str, segmenter: PartSegmenter) -> list[Answers]:
    """Answers on each picture of a source, the best picture first.

    Args:
        source: "household", a level of rendered scenes, or a folder.
        segmenter: the model.
    """
    found: dict[str, Answers] = defaultdict(list)

    def add(answer: AnsweredQuery) -> None:
        if answer.truth is not None:
            found[answer.name].append(answer)

    folder = HOUSEHOLD if source == "household" else Path(source)
    if source in LEVELS or is_rendered(folder):
        with tempfile.TemporaryDirectory() as rendered:
            scenes = (
                render_test_scenes(source, SCENES, SEED, Path(rendered))
                if source in LEVELS
                else RenderedScenes(folder)
            )
            evaluate_rendered(scenes, segmenter, count=SCENES, on_answer=add)
    else:
        evaluate_folder(CocoFolder(folder), segmenter, on_answer=add)
    return sorted(found.values(), key=_mean_iou, reverse=True)


def _mean_iou(answers: Answers) -> float:
    return float(np.mean([answer.iou for answer in answers]))


def chosen(pictures: Sequence[Answers], columns: int) -> list[list[Answers]]:
    """Three rows of a ranking: from its best, its middle and its worst twelfth."""
    step = max(1, len(pictures) // (12 * columns))
    middle = max(0, len(pictures) // 2 - columns * step // 2)
    rows = pictures[::step], pictures[middle::step], pictures[::-1][::step]
    return [list(row[:columns]) for row in rows]


def tile(answers: Answers) -> NDArray[np.uint8]:
    """A picture with its answers and caption, RGB uint8 [TILE + CAPTION, TILE, 3]."""
    image = answers[0].image.copy()
    mask = np.any([answer.mask for answer in answers], axis=0)
    image[mask] = 0.5 * image[mask] + 0.5 * np.array(RED)
    thickness = max(1, round(max(mask.shape) / 250))
    for answer in answers:
        outline = np.asarray(answer.truth, np.uint8)
        found, _ = cv2.findContours(outline, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(image, found, -1, GREEN, thickness)
    zoom = TILE / max(mask.shape)
    small = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
    canvas = np.full((TILE + CAPTION, TILE, 3), 255, np.uint8)
    canvas[CAPTION : CAPTION + small.shape[0], : small.shape[1]] = small[:TILE, :TILE]
    names = ", ".join(sorted({answer.query.object for answer in answers}))
    caption = f"{_mean_iou(answers):.2f} {names}"
    cv2.putText(canvas, caption, (4, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 0, 1, cv2.LINE_AA)
    return canvas


def main() -> None:
    """Draw the picture: three rows for one source, one row for each of several."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("sources", nargs="+", help="household, tabletop, wild, or a folder")
    parser.add_argument("out", type=Path, help="picture to write")
    parser.add_argument("--model", default="ovps-tiny")
    args = parser.parse_args()
    segmenter = PartSegmenter.from_pretrained(args.model)
    rows: list[list[Answers]] = []
    for source in args.sources:
        if len(args.sources) == 1:
            rows += chosen(ranked(source, segmenter), 4)
        else:
            rows.append([each for row in chosen(ranked(source, segmenter), 2) for each in row])
    save_image(args.out, np.vstack([np.hstack([tile(each) for each in row]) for row in rows]))


if __name__ == "__main__":
    main()
