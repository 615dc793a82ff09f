"""Benchmarks of objects in their published folders: COCO, LVIS, Objects365 and ADE20K."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from ovps_core.datasets.ade20k import Ade20kInstances, Ade20kSemantic
from ovps_core.datasets.coco_folder import ANNOTATIONS
from ovps_core.datasets.coco_objects import CocoObjects, stuff_names
from ovps_core.datasets.label_files import require_layout
from ovps_core.datasets.labelled_objects import ObjectDataset
from ovps_core.errors import DatasetError, UsageError


class ObjectTask(Enum):
    """Question about an image.

    Attributes:
        PANOPTIC: things and stuff that share out the pixels.
        INSTANCE: things with boxes and masks. Names of stuff are asked too, where the data set has them.
        DETECTION: things with boxes only, asked in the same way.
        SEMANTIC: a name for each pixel.
        CONDITIONED: the mask of each object, given its true box and name.
    """

    PANOPTIC = "panoptic"
    INSTANCE = "instance"
    DETECTION = "detection"
    SEMANTIC = "semantic"
    CONDITIONED = "conditioned"

    @property
    def needs_regions(self) -> bool:
        """The ground truth says of each pixel what it shows."""
        return self in (ObjectTask.PANOPTIC, ObjectTask.SEMANTIC)


@dataclass(frozen=True)
class ObjectBenchmark:
    """A published data set.

    Attributes:
        split: split that is evaluated if none is named.
        tasks: those that it has ground truth for.
        layout: the expected files, for help texts and errors.
        open: makes the reader from the folder, the split, the task and the layout.
    """

    split: str
    tasks: tuple[ObjectTask, ...]
    layout: str
    open: Callable[[Path, str, ObjectTask, str], ObjectDataset]


def open_benchmark(name: str, place: Path, task: ObjectTask, split: str = "") -> ObjectDataset:
    """Open a benchmark for evaluation.

    Args:
        name: key of :data:`OBJECT_BENCHMARKS`.
        place: its folder; also a single COCO file for "coco".
        task: what is going to be asked.
        split: such as "val"; empty for the benchmark's own.

    Raises:
        UsageError: the benchmark has no ground truth for the task.
        DatasetError: files are missing or malformed.
    """
    benchmark = OBJECT_BENCHMARKS[name]
    if task not in benchmark.tasks:
        tasks = ", ".join(each.value for each in benchmark.tasks)
        raise UsageError(f"{name} has no ground truth for {task.value}; its tasks are {tasks}")
    if not place.exists():
        raise DatasetError(f"{place} does not exist. Expected:\n{benchmark.layout}")
    return benchmark.open(place, split or benchmark.split, task, benchmark.layout)


def _open_coco(place: Path, split: str, task: ObjectTask, layout: str) -> ObjectDataset:
    if place.suffix == ".json" or (place / ANNOTATIONS).is_file():
        return CocoObjects(place, for_evaluation=True)
    stem = f"panoptic_{split}" if task.needs_regions else f"instances_{split}"
    maps = [f"annotations/{stem}"] if task.needs_regions else []
    dataset = _coco_file(place, f"annotations/{stem}.json", [*maps, split], place / split, layout)
    panoptic = place / f"annotations/panoptic_{split}.json"
    if task in (ObjectTask.INSTANCE, ObjectTask.DETECTION) and panoptic.is_file():
        dataset.stuff = stuff_names(panoptic)
    return dataset


def _open_lvis(place: Path, split: str, task: ObjectTask, layout: str) -> ObjectDataset:
    return _coco_file(place, f"annotations/lvis_v1_{split}.json", ["val2017"], place, layout)


def _open_objects365(place: Path, split: str, task: ObjectTask, layout: str) -> ObjectDataset:
    file = f"annotations/zhiyuan_objv2_{split}.json"
    return _coco_file(place, file, [split], place / split, layout)


def _open_ade20k(place: Path, split: str, task: ObjectTask, layout: str) -> ObjectDataset:
    folder = {"val": "validation", "train": "training"}.get(split, split)
    images = f"images/{folder}"
    if task is ObjectTask.SEMANTIC:
        needed = [images, f"annotations/{folder}", "objectInfo150.txt"]
        require_layout(place, needed, layout)
        return Ade20kSemantic(place, folder)
    if task is ObjectTask.PANOPTIC:
        stem = f"ade20k_panoptic_{split}"
        return _coco_file(place, f"{stem}.json", [stem, images], place / images, layout)
    require_layout(place, [images, f"annotations_instance/{folder}", "objectInfo150.txt"], layout)
    return Ade20kInstances(place, folder)


def _coco_file(
    place: Path, file: str, others: list[str], images: Path, layout: str
) -> ObjectDataset:
    require_layout(place, [file, *others], layout)
    return CocoObjects(place / file, images=images, for_evaluation=True)


_ALL = tuple(ObjectTask)
_BOXES_AND_MASKS = (ObjectTask.INSTANCE, ObjectTask.DETECTION, ObjectTask.CONDITIONED)
OBJECT_BENCHMARKS = {
    "coco": ObjectBenchmark(
        "val2017",
        _ALL,
        """\
  coco FOLDER, or a COCO file of your own with its images beside it, or a folder with annotations.json and images
    annotations/panoptic_val2017.json, annotations/panoptic_val2017/*.png  panoptic, semantic
    annotations/instances_val2017.json                                     instance, detection, conditioned
      (instance and detection also ask the names of stuff, if the panoptic JSON is there)
    val2017/*.jpg""",
        _open_coco,
    ),
    "lvis": ObjectBenchmark(
        "val",
        _BOXES_AND_MASKS,
        """\
  lvis FOLDER
    annotations/lvis_v1_val.json
    train2017/*.jpg, val2017/*.jpg  COCO's; the images of LVIS' val split are in both""",
        _open_lvis,
    ),
    "objects365": ObjectBenchmark(
        "val",
        (ObjectTask.DETECTION,),
        """\
  objects365 FOLDER
    annotations/zhiyuan_objv2_val.json
    val/patch*/*.jpg""",
        _open_objects365,
    ),
    "ade20k": ObjectBenchmark(
        "val",
        _ALL,
        """\
  ade20k FOLDER, called ADEChallengeData2016
    images/validation/*.jpg
    objectInfo150.txt
    annotations/validation/*.png           semantic: 1-150, 0 is unlabelled
    annotations_instance/validation/*.png  instance, detection, conditioned: red is the class 1-100, green the
      instance
    ade20k_panoptic_val.json, ade20k_panoptic_val/*.png  panoptic, in COCO's form""",
        _open_ade20k,
    ),
}
"""Benchmarks by the name on the command line."""
