"""Pictures that a command line names: files, folders and videos."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ovps_core.errors import ImageError, UsageError
from ovps_core.pipeline.preprocess import IMAGE_SUFFIXES, RgbImage, image_paths
from ovps_core.structures.image_files import load_image

PICTURE_SUFFIXES = (*IMAGE_SUFFIXES, ".gif", ".jp2", ".pbm", ".pgm", ".ppm", ".tif", ".tiff")
"""Of all pictures that can be read."""
VIDEO_SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm")
_QUIET = "-8"  # of FFmpeg's levels: nothing; it prints thousands of lines for one damaged file
_WHOLE = 0.9  # share of a video's frames, and of its time, above which it counts as whole


@dataclass(frozen=True)
class Picture:
    """A picture, or a frame of a video.

    Attributes:
        path: path as it was given.
        image: RGB uint8 [H, W, 3]; an error if it cannot be read.
        frame: number of the frame of a video.
    """

    path: Path
    image: RgbImage | ImageError
    frame: int | None = None

    @property
    def name(self) -> str:
        """Path as it was given; of a frame with its number: "clip.mp4#12"."""
        return str(self.path) if self.frame is None else f"{self.path}#{self.frame}"

    @property
    def file_stem(self) -> str:
        """Name for the files of this picture, without a suffix."""
        return self.path.stem if self.frame is None else f"{self.path.stem} {self.frame:06d}"


def is_picture(path: Path) -> bool:
    """Return True for an existing file whose name ends like a picture's or a video's."""
    return path.suffix.lower() in (*PICTURE_SUFFIXES, *VIDEO_SUFFIXES) and path.is_file()


def are_several(paths: Sequence[Path]) -> bool:
    """Return True if the paths may hold more than one picture."""
    return len(paths) > 1 or paths[0].is_dir() or paths[0].suffix.lower() in VIDEO_SUFFIXES


def picture_files(paths: Sequence[Path]) -> list[Path]:
    """The files of pictures and videos, those in folders too; a folder without any is left out."""
    files: list[Path] = []
    for path in paths:
        with contextlib.suppress(ImageError):  # reported when it is read
            files += image_paths(path, PICTURE_SUFFIXES) if path.is_dir() else [path]
    return files


def check_file_stems(files: Sequence[Path]) -> None:
    """Check that the files written for one picture are not those of another, before any is read.

    Raises:
        UsageError: two pictures have one name.
    """
    pictures: dict[tuple[str, bool], Path] = {}
    for file in files:
        is_video = file.suffix.lower() in VIDEO_SUFFIXES
        other = pictures.setdefault((file.stem, is_video), file)
        if other != file:
            raise UsageError(
                f"{other} and {file} would both be written as {file.stem!r}; rename one, or write them into "
                "two folders with two calls"
            )


def read_pictures(paths: Sequence[Path]) -> Iterator[Picture]:
    """Read the pictures of files, folders and videos one after the other."""
    for path in paths:
        if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file():
            yield from _frames(path)
            continue
        try:
            files = image_paths(path, PICTURE_SUFFIXES) if path.is_dir() else [path]
        except ImageError as error:
            yield Picture(path, error)
            continue
        for file in files:
            try:
                yield Picture(file, load_image(file))
            except ImageError as error:
                yield Picture(file, error)


def _frames(path: Path) -> Iterator[Picture]:
    """The frames of a video, then an error if there are none or the end is missing."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", _QUIET)  # read when the first video is opened
    video = cv2.VideoCapture(str(path))
    expected, rate = video.get(cv2.CAP_PROP_FRAME_COUNT), video.get(cv2.CAP_PROP_FPS)
    number, seconds = 0, 0.0
    try:
        while (frame := video.read()[1]) is not None:
            seconds = video.get(cv2.CAP_PROP_POS_MSEC) / 1000
            yield Picture(path, np.ascontiguousarray(frame[..., ::-1], np.uint8), number)
            number += 1
    finally:
        video.release()
    if number == 0:
        yield Picture(path, ImageError(f"{path} cannot be read as a video"))
    # the number is an estimate in some files, such as those with frames at uneven times
    elif number < _WHOLE * expected and seconds * rate < _WHOLE * expected - 1:
        text = f"{path}: {number} of {expected:.0f} frames could be read; the end of the file is missing"
        yield Picture(path, ImageError(text))
