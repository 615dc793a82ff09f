"""A folder of pictures calibrates a network that is quantised: all of it is looked at, not all of it is read."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from ovps_core.engines.calibration import calibration_images, read_calibration
from ovps_core.errors import ImageError


def test_a_long_recording_is_spread_evenly(tmp_path: Path) -> None:
    for i in range(120):
        cv2.imwrite(str(tmp_path / f"{i:03}.png"), np.full((8, 8, 3), i, np.uint8))
    (tmp_path / "notes.txt").write_text("not a picture")
    shown = [int(image[0, 0, 0]) for image in read_calibration(tmp_path)]
    assert len(shown) == 64 and shown[0] == 0 and shown[-1] >= 118
    assert set(np.diff(shown)) == {1, 2}


def test_without_a_folder_there_are_synthetic_pictures() -> None:
    assert read_calibration("") == []
    images = calibration_images([])
    assert len(images) == 8 and all(image.std() > 10 for image in images)


def test_a_folder_without_pictures_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=f"no pictures in {tmp_path}"):
        read_calibration(tmp_path)
