"""Pictures that a command line names: files, folders and videos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ovps_core.errors import ImageError
from ovps_core.pipeline.preprocess import IMAGE_SUFFIXES, RgbImage, image_paths
from ovps_core.structures.image_files import load_image

VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm")


@dataclass(frozen=True)
class Picture:
    """A picture, or a frame of a video.

    Attributes:
        name: path as it was given; of a frame with its number: "clip.mp4#12".
        image: RGB uint8 [H, W, 3]; an error if it cannot be read.
    """

    name: str
    image: RgbImage | ImageError

    @property
    def file_stem(self) -> str:
        """Name for the files of this picture, without a suffix."""
        path, _, frame = self.name.partition("#")
        return f"{Path(path).stem} {int(frame):06d}" if frame else Path(path).stem


def is_picture(path: Path) -> bool:
    """Return True for an existing file whose name ends like a picture's or a video's."""
    return path.suffix.lower() in (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES) and path.is_file()


def are_several(paths: Sequence[Path]) -> bool:
    """Return True if the paths may hold more than one picture."""
    return len(paths) > 1 or paths[0].is_dir() or paths[0].suffix.lower() in VIDEO_SUFFIXES


def read_pictures(paths: Sequence[Path]) -> Iterator[Picture]:
    """Read the pictures of files, folders and videos one after the other."""
    for path in paths:
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file():
            yield from _frames(path)
            continue
        try:
            files = image_paths(path) if path.is_dir() else [path]
        except ImageError as error:
            yield Picture(str(path), error)
            continue
        for file in files:
            try:
                yield Picture(str(file), load_image(file))
            except ImageError as error:
                yield Picture(str(file), error)


def _frames(path: Path) -> Iterator[Picture]:
    video = cv2.VideoCapture(str(path))
    number = 0
    try:
        while (frame := video.read()[1]) is not None:
            yield Picture(f"{path}#{number}", np.ascontiguousarray(frame[..., ::-1], np.uint8))
            number += 1
    finally:
        video.release()
    if number == 0:
        yield Picture(str(path), ImageError(f"{path} cannot be read as a video"))
