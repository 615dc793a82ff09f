"""A small COCO file of two photographs, and a segmenter that answers it."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np

from helpers.miniature_benchmarks import box, polygon, write_noise
from ovps_core.evaluation.folder import evaluate_folder

HANDLE = box(10, 10, 30, 30)
SQUARE = polygon(10, 10, 30, 30)[0]
MUG = {"id": 1, "object": "mug", "part": "handle"}
RIM = {"id": 2, "object": "mug", "part": "rim"}


def write(folder, *, encoding="utf-8", **lists):
    """Two photographs of 80x60, the first with a mug's handle; ``lists`` replace those of the file."""
    for name in ("a.png", "b.png"):
        if not (folder / name).is_file():
            write_noise(folder / name, len(name))
    content = {
        "images": [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}],
        "categories": [MUG, RIM],
        "annotations": [annotation(7)],
        **lists,
    }
    (folder / "annotations.json").write_text(json.dumps(content), encoding=encoding)
    return folder


def annotation(number, segmentation=None, **keys):
    content = {"id": number, "image_id": 1, "category_id": 1, "segmentation": [SQUARE], **keys}
    return {**content, "segmentation": segmentation} if segmentation is not None else content


class Answers:
    """Answers every query with the same mask."""

    name = "answers"
    finds_objects = False

    def __init__(self, mask):
        self.mask = mask

    def encode_queries(self, queries):
        return SimpleNamespace(queries=tuple(queries), refused=())

    def query_maps(self, images, queries):
        return (
            np.where(self.mask, 2, -2)
            .astype(np.float32)[None, None]
            .repeat(len(queries.queries), 1)
        )


def per_category(folder, mask=HANDLE):
    result = evaluate_folder(folder, Answers(mask))
    return result, result.as_dict()["per_category"]
