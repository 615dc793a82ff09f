"""Benchmark UMD part affordances: tools on a turntable, seven affordances (Myers et al., ICRA 2015)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat

from ovps_core.datasets.asked_pictures import AskedPicture, PhraseBenchmark
from ovps_core.datasets.label_files import require_layout
from ovps_core.errors import DatasetError

AFFORDANCES = ("grasp", "cut", "scoop", "contain", "pound", "support", "wrap-grasp")
"""Affordance of the label value i + 1; 0 is background."""

_PHRASES = {
    "grasp": "grasp the {}",
    "cut": "cut with the {}",
    "scoop": "scoop with the {}",
    "pound": "pound with the {}",
}
"""How an affordance is asked for. The others name no part of their own: a cup contains with all of its inside."""

_SPLITS = {"category": "category_split.txt", "novel": "novel_split.txt"}
_TEST = "2"  # first column of a split's lines; 1 is training
_EVERY = 10  # neighbouring frames of the turntable hardly differ


class UMDAffordances(PhraseBenchmark):
    """Reader of the test frames, every tenth. A question is an affordance of the tool in the frame."""

    name = "umd"
    folder = "part-affordance-dataset"
    layout = """\
  part-affordance-dataset/
    category_split.txt, novel_split.txt     lines such as "2 knife_01_00000001"; 2 is the test split
    tools/knife_01/knife_01_00000001_rgb.jpg, ..._label.mat"""
    wordings = tuple(_SPLITS)

    def questions(self, wording: str) -> Sequence[AskedPicture]:
        """List the questions of a split; the wording names the split."""
        file = _SPLITS[wording]
        require_layout(self.base, [file, "tools"], self.layout)
        frames = []
        for line in (self.base / file).read_text("utf-8").splitlines():
            words = line.split()
            if len(words) >= 2 and words[0] == _TEST:
                frames.append(words[-1])
        if not frames:
            raise DatasetError(f"{self.base / file} lists no test frame; expected {self.layout}")
        return [question for frame in frames[::_EVERY] for question in self._of_frame(frame)]

    def _of_frame(self, frame: str) -> list[AskedPicture]:
        tool = frame.rsplit("_", 1)[0]
        path = self.base / "tools" / tool / f"{frame}_label.mat"
        picture = path.with_name(f"{frame}_rgb.jpg")
        shown = set(np.unique(_labels(path)).tolist())
        words = " ".join(word for word in tool.split("_") if not word.isdigit())
        return [
            AskedPicture(
                f"{frame} {affordance}", phrase.format(words), picture, partial(_mask, path, value)
            )
            for affordance, phrase in _PHRASES.items()
            if (value := AFFORDANCES.index(affordance) + 1) in shown
        ]


@lru_cache(maxsize=2)
def _labels(path: Path) -> NDArray[np.uint8]:
    """Affordance of each pixel, uint8 [H, W].

    Raises:
        DatasetError: the file is missing or damaged.
    """
    try:
        labels = np.asarray(loadmat(path)["gt_label"], np.uint8)
    except Exception as error:  # scipy raises many kinds for damaged files
        raise DatasetError(
            f"{path} cannot be read: {error}; expected a map named gt_label"
        ) from error
    if labels.ndim != 2:
        raise DatasetError(f"{path} has a map of shape {labels.shape}; expected (height, width)")
    return labels


def _mask(path: Path, value: int) -> NDArray[np.bool_]:
    return np.asarray(_labels(path) == value)
