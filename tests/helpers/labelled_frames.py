"""Masks and files of the three frames that tests of labelling use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

HEIGHT, WIDTH = 48, 64


def box(left: int, top: int, right: int, bottom: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return mask


def content(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "annotations.json").read_text()))
