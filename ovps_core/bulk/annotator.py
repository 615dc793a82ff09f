"""Annotation of one unit; its result is a file, written whole, so that a unit is done once or not at all."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ovps_core.bulk.units import FRAMES, Unit
from ovps_core.datasets.pseudo_labels import pseudo_label
from ovps_core.errors import ImageError, RecordingError
from ovps_core.pipeline.postprocess.components import SegmentOptions
from ovps_core.pipeline.preprocess import RgbImage
from ovps_core.segmenter import PartSegmenter
from ovps_core.structures.image_files import load_image
from ovps_core.structures.whole_files import write_json, write_whole

PARTIAL = "units"
"""Folder of the results of single units."""

_Frame = tuple[dict[str, Any], RgbImage]


@dataclass(frozen=True)
class Job:
    """Questions that every unit is asked, and how.

    Attributes:
        out: folder of the data set; all workers see it under this path.
        queries: parts to look for.
        options: thresholds.
        image_topic: topic of the colour image in recordings; "" if they have only one.
        every: take every n-th frame of a recording.
    """

    out: Path
    queries: str
    options: SegmentOptions = SegmentOptions()
    image_topic: str = ""
    every: int = 1


@dataclass(frozen=True)
class Report:
    """Outcome of a unit.

    Attributes:
        key: of the unit.
        frames: number of annotated frames.
        problem: why the unit, or the rest of it, could not be read; "" if it is complete.
    """

    key: str
    frames: int
    problem: str = ""


@dataclass
class Annotator:
    """A worker: it opens the model once and annotates one unit after the other.

    Attributes:
        job: what is asked.
        open_segmenter: opens the model in this process, at the first unit.
    """

    job: Job
    open_segmenter: Callable[[], PartSegmenter]
    _segmenter: PartSegmenter | None = field(default=None, repr=False)

    def __call__(self, unit: Unit) -> Report:
        """Annotate a unit and write its result; a unit that cannot be read is reported, not raised.

        Raises:
            OutputError: the result cannot be written.
            CheckpointError, BackendError: the model cannot be opened.
        """
        if self._segmenter is None:
            self._segmenter = self.open_segmenter()
        encoded = self._segmenter.encode_queries(self.job.queries)
        images: list[dict[str, Any]] = []
        left_out: Counter[str] = Counter()
        problem = ""
        try:
            for entry, image in self._frames(unit, left_out):
                masks = self._segmenter.segment(image, encoded, self.job.options)
                found = [pseudo_label(part, masks.height, masks.width) for part in masks.parts]
                size = {"height": masks.height, "width": masks.width}
                model = {"model": self._segmenter.name}
                images.append({**entry, **size, "annotations": [{**a, **model} for a in found]})
        except RecordingError as error:
            problem = str(error)
        refused = {each.text: each.reason for each in encoded.refused}
        result = {
            "problem": problem,
            "left_out": dict(left_out),
            "refused": refused,
            "asked": [(query.object, query.part) for query in encoded.queries],
            "images": images,
        }
        write_json(result_path(self.job.out, unit.key), result)
        return Report(unit.key, len(images), problem)

    def _frames(self, unit: Unit, left_out: Counter[str]) -> Iterator[_Frame]:
        if unit.kind == "bag":
            yield from self._recorded(unit, left_out)
            return
        for path in unit.paths:
            try:
                yield {"file_name": os.path.relpath(path, self.job.out)}, load_image(path)
            except ImageError as error:
                left_out[str(error)] += 1

    def _recorded(self, unit: Unit, left_out: Counter[str]) -> Iterator[_Frame]:
        """Frames of a recording; their pictures are written beside the annotations."""
        from ovps_core.ros_io.bags.damage import IN_DAMAGE
        from ovps_core.ros_io.bags.extract import encoded_image
        from ovps_core.ros_io.bags.reading import BagFrames, BagTopics, only_image_topic, open_bag
        from ovps_core.ros_io.codec import image_rgb

        (path,) = unit.paths
        with open_bag(path) as reader:
            topic = self.job.image_topic or only_image_topic(reader)
            frames = BagFrames(reader, BagTopics(topic), slop_s=0.0)
            for number, frame in enumerate(frames):
                if number % self.job.every:
                    continue
                try:
                    suffix, data, _, _ = encoded_image(frame.image)
                    image = image_rgb(frame.image)
                except ImageError as error:
                    left_out[f"unreadable: {error}"] += 1
                    continue
                name = f"{FRAMES}/{unit.key}/{frame.stamp_ns}.{suffix}"
                write_whole(self.job.out / name, data)
                yield {"file_name": name, "stamp_ns": frame.stamp_ns, "recording": path}, image
            left_out.update(frames.drops)
            lost = frames.drops[IN_DAMAGE]
            if lost:
                raise RecordingError(f"damaged; {lost} messages are lost, the others are kept")


def result_path(out: Path, key: str) -> Path:
    """File of a unit's result."""
    return out / PARTIAL / f"{key}.json"
