"""Benchmark InstructPart: 600 questions about parts, as a task or by name (Wan et al., ACL 2025)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ovps_core.datasets.asked_pictures import AskedPicture, PhraseBenchmark
from ovps_core.datasets.label_files import read_json, require_files, require_layout
from ovps_core.errors import DatasetError
from ovps_core.structures.image_files import load_labels

_WORDINGS = {
    "name": 4,  # "blade of the knife"
    "name-affordance": 5,  # "blade of the knife that can cut"
    "question": 2,  # "Where is the blade of the knife in this image?"
    "task": 0,  # "If I want to use the knife to cut the carrots, which part in the picture should be used?"
    "task-rewritten": 1,  # the same in the words of a language model
}
"""Name of a wording -> its position in the list ``instruction`` of a part."""


class InstructPart(PhraseBenchmark):
    """Reader of the test split. Oracle referring asks by name, task reasoning by a task."""

    name = "instructpart"
    folder = "InstructPart"
    layout = """\
  InstructPart/
    test/data_test.json                          pictures with object, part and six instructions
    test/images/<picture>-<object>-<part>.jpg    one file for each question
    test/masks/<picture>-<object>-<part>.*       nonzero on the part"""
    wordings = tuple(_WORDINGS)

    def questions(self, wording: str) -> Sequence[AskedPicture]:
        """List the questions of the test split."""
        base = self.base / "test"
        require_layout(self.base, ["test/data_test.json", "test/images", "test/masks"], self.layout)
        masks = {path.stem: path for path in sorted((base / "masks").iterdir())}
        questions = []
        for entry in read_json(base / "data_test.json"):
            for part in entry["part_list"]:
                stem = _stem(entry["image_path"], part)
                if stem not in masks:
                    raise DatasetError(
                        f"{base / 'masks'} has no {stem}.*, although data_test.json lists it. Unpack the data set "
                        "again."
                    )
                phrase = str(part["instruction"][_WORDINGS[wording]])
                picture = base / "images" / f"{stem}.jpg"
                questions.append(AskedPicture(stem, phrase, picture, partial(_mask, masks[stem])))
        require_files([q.image_path for q in questions], "data_test.json lists it")
        return questions


def _stem(picture: str, part: dict[str, Any]) -> str:
    words = (str(part[key]).replace(" ", "_") for key in ("object", "part"))
    return "-".join([Path(picture).stem, *words])


def _mask(path: Path) -> NDArray[np.bool_]:
    return np.asarray(load_labels(path) != 0)
