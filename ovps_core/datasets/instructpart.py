"""Benchmark InstructPart: 600 questions about parts, as a task or by name (Wan et al., ACL 2025)."""

from __future__ import annotations

import json
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
_SHOWN = 200  # characters of a malformed entry that a message shows


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
        """List the questions of the test split.

        Raises:
            DatasetError: files are missing or malformed.
        """
        base = self.base / "test"
        require_layout(self.base, ["test/data_test.json", "test/images", "test/masks"], self.layout)
        masks = {path.stem: path for path in sorted((base / "masks").iterdir())}
        questions, source, position = [], base / "data_test.json", _WORDINGS[wording]
        entries = read_json(source)
        for entry in entries if isinstance(entries, list) else [entries]:
            for part in _parts(entry, position, source):
                stem = _stem(entry["image_path"], part)
                if stem not in masks:
                    raise DatasetError(
                        f"{base / 'masks'} has no {stem}.*, although data_test.json lists it. Unpack the data set "
                        "again."
                    )
                phrase = str(part["instruction"][position])
                picture = base / "images" / f"{stem}.jpg"
                questions.append(AskedPicture(stem, phrase, picture, partial(_mask, masks[stem])))
        require_files([q.image_path for q in questions], "data_test.json lists it")
        return questions


def _parts(entry: Any, position: int, source: Path) -> list[dict[str, Any]]:
    """The parts of a picture's entry, each with an instruction at a position.

    Raises:
        DatasetError: a key or an instruction is missing.
    """
    entry = entry if isinstance(entry, dict) else {"": entry}
    name, parts = entry.get("image_path"), entry.get("part_list")
    if not isinstance(name, str) or not isinstance(parts, list):
        raise DatasetError(
            f"{source} has the entry {_shown(entry)}; expected the text image_path and the list part_list. "
            "Unpack the data set again."
        )
    for part in parts:
        known = part if isinstance(part, dict) else {}
        texts = known.get("instruction")
        if (
            not {"object", "part"} <= known.keys()
            or not isinstance(texts, list)
            or len(texts) <= position
        ):
            raise DatasetError(
                f"{source}: {name} has the part {_shown(part)}; expected object, part, and instruction with "
                f"{position + 1} texts at least. Unpack the data set again."
            )
    return parts


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."


def _stem(picture: str, part: dict[str, Any]) -> str:
    words = (str(part[key]).replace(" ", "_") for key in ("object", "part"))
    return "-".join([Path(picture).stem, *words])


def _mask(path: Path) -> NDArray[np.bool_]:
    return np.asarray(load_labels(path) != 0)
