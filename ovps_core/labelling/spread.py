"""Labels from little: masks of people carried to neighbouring frames, and agreement of pseudo-labels over time.

Optical flow carries them. So do depth and poses of the camera where frames have both (``ovps bag extract
--fixed-frame``), for each mask of which they follow clearly more.

A mask that was carried has these keys, beside ``"pseudo_label": true``:

``origin``
    "propagated".
``source_image_id``, ``source_id``
    the picture and the annotation that it was carried from.
``score``
    share of that mask's pixels that could be followed to this frame.

Other pseudo-labels have ``agreement``: the mean IoU with the mask of the same category in the frame before and the
frame after, carried into their frame.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from ovps_core.datasets.coco_categories import unused_ids
from ovps_core.datasets.coco_check import NOT_EXHAUSTIVE, is_crowd, is_submitted
from ovps_core.datasets.coco_folder import (
    ANNOTATIONS,
    PSEUDO_LABEL,
    decode_annotation,
    has_mask,
    is_pseudo_label,
)
from ovps_core.datasets.posed_camera import CAMERA, DEPTH_FILE, PosedCamera, load_depth
from ovps_core.datasets.segmentations import encode_segmentation
from ovps_core.errors import DatasetError
from ovps_core.labelling.flow import Flow, Flows, load_grey, smooth_grey
from ovps_core.labelling.merge import PROPAGATED
from ovps_core.labelling.project import picture_path, read_annotations
from ovps_core.labelling.reprojection import View, reproject
from ovps_core.structures.boxes import Box
from ovps_core.structures.image_files import image_size
from ovps_core.structures.masks import mask_iou
from ovps_core.structures.whole_files import write_json

_Annotation = dict[str, Any]
_Masks = list[tuple[_Annotation, NDArray[np.bool_]]]
_INHERITED = ("category_id", "object", "part", "query", "track_id", "instance")
# Where flow can follow a mask, its outline is finer than that of depth, and poses may be wrong.
_MIN_GAIN = 0.05  # share of a mask's pixels that depth must follow beyond those that flow follows
_SAME_OBJECT = 0.5  # share of the smaller of two masks of one category that the other covers


@dataclass(frozen=True)
class SpreadOptions:
    """Options of :func:`spread_labels`.

    Attributes:
        max_frames: frames over which a mask is carried, in both directions.
        min_share: a mask ends where a smaller share of its pixels can be followed, 0..1.
        min_agreement: pseudo-labels that agree less become regions (``iscrowd``), which are neither learned nor
            scored, 0..1.
    """

    max_frames: int = 10
    min_share: float = 0.7
    min_agreement: float = 0.0


@dataclass
class _Frame:
    """A picture of a recording and its annotations."""

    table: Path
    image: Mapping[str, Any]
    path: Path
    height: int
    width: int
    annotations: list[_Annotation]

    def view(self) -> View | None:
        """The picture with its depth and the pose of its camera; None if one of them is missing.

        Raises:
            DatasetError: its camera or depth cannot be used.
            ImageError: the picture or its depth cannot be read.
        """
        if CAMERA not in self.image or DEPTH_FILE not in self.image:
            return None
        place = f"{self.table}, {self.image['file_name']}"
        camera = PosedCamera.read(self.image[CAMERA], self.height, self.width, place)
        depth = picture_path(self.table.parent, str(self.image[DEPTH_FILE]))
        grey = smooth_grey(load_grey(self.path))
        return View(grey, load_depth(depth, self.height, self.width), camera)

    @property
    def is_labelled(self) -> bool:
        """True if a person has labelled the picture."""
        return is_submitted(self.image) or not all(map(is_pseudo_label, self.annotations))

    def masks(self, annotations: Iterable[_Annotation]) -> _Masks:
        """The annotations that have a mask, with it."""
        name = self.image["file_name"]
        return [
            (
                each,
                decode_annotation(
                    each,
                    self.table,
                    self.height,
                    self.width,
                    f"{name}, annotation {each['id']}",
                ),
            )
            for each in annotations
            if has_mask(each)
        ]


def spread_labels(folder: Path, options: SpreadOptions | None = None) -> Counter[str]:
    """Carry masks of people to frames that nobody has labelled, and note how far pseudo-labels agree over time.

    A carried mask replaces the pseudo-labels of its category of which it covers half, or which cover half of it.
    Pictures that a person has labelled stay as they are. Doing it twice gives the same file.

    Args:
        folder: frames with ``annotations.json``, as ``ovps bag extract`` writes it.
        options: limits.

    Returns:
        Numbers of pictures and masks.

    Raises:
        DatasetError: the data set cannot be read or has no mask, or the order of its pictures is unknown.
        ImageError: a picture cannot be read.
        OutputError: the file cannot be written.
    """
    options = options or SpreadOptions()
    coco = read_annotations(folder)
    earlier = {_source(each): each["id"] for each in coco["annotations"] if _is_carried(each)}
    others = [each for each in coco["annotations"] if not _is_carried(each)]
    if not others:
        raise DatasetError(
            f"{folder} has no mask to carry; label a few pictures first, with `ovps label open {folder}` and "
            f"`ovps label save {folder}`"
        )
    recordings = _recordings(folder, coco["images"], others)
    new: list[_Annotation] = []
    replaced: set[Any] = set()
    counts: Counter[str] = Counter()
    total = 3 * sum(len(frames) - 1 for frames in recordings)
    with tqdm(total=total, desc="spread", unit="frame", disable=None) as bar:
        for frames in recordings:
            counts["pictures that a person has labelled"] += sum(f.is_labelled for f in frames)
            overlaps = _Overlaps()
            for stretch in _stretches(frames):
                flows = Flows()
                for frame, carried in _carry_both_ways(stretch, options, flows, bar.update):
                    kept, covered = _join(frame, carried)
                    new += kept
                    replaced |= covered
                    counts["pictures that masks were carried to"] += bool(kept)
                overlaps.add(stretch, flows, bar.update)
            for annotation, agreement in overlaps.agreements():
                annotation["agreement"] = round(agreement, 4)
                annotation["iscrowd"] = int(annotation["agreement"] < options.min_agreement)
                counts["pseudo-labels that agree too little"] += annotation["iscrowd"]
    unused = unused_ids(coco["annotations"])
    for annotation in new:
        known = earlier.get(_source(annotation))
        annotation["id"] = next(unused) if known is None else known
    counts["masks that were carried"] = len(new)
    counts["pseudo-labels that they replace"] = len(replaced)
    left = [each for each in others if each["id"] not in replaced]
    write_json(folder / ANNOTATIONS, {**coco, "annotations": left + new})
    return counts


def _is_carried(annotation: Mapping[str, Any]) -> bool:
    return annotation.get("origin") == PROPAGATED and is_pseudo_label(annotation)


def _source(annotation: Mapping[str, Any]) -> tuple[Any, Any]:
    """The picture of a carried mask, and the mask that it was carried from."""
    return annotation["image_id"], annotation.get("source_id")


def _recordings(
    folder: Path, images: Sequence[Mapping[str, Any]], annotations: Sequence[_Annotation]
) -> list[list[_Frame]]:
    """Frames of one folder and size, in the order of their stamps; pictures without a stamp are left out.

    Raises:
        DatasetError: no picture has a stamp.
    """
    of_image: dict[Any, list[_Annotation]] = defaultdict(list)
    for annotation in annotations:
        of_image[annotation["image_id"]].append(annotation)
    recordings: dict[Any, list[_Frame]] = defaultdict(list)
    for image in images:
        if not isinstance(image.get("stamp_ns"), int):
            continue
        path = picture_path(folder, image["file_name"])
        size = image_size(path)
        frame = _Frame(folder / ANNOTATIONS, image, path, *size, of_image[image["id"]])
        recordings[path.parent, size].append(frame)
    if not recordings:
        raise DatasetError(
            f"{folder / ANNOTATIONS}: the order of the pictures is unknown, since none has a stamp_ns. Masks are "
            "carried through frames of a recording, as `ovps bag extract` and `ovps annotate frames` write them"
        )
    return [sorted(frames, key=lambda f: f.image["stamp_ns"]) for frames in recordings.values()]


def _stretches(frames: Sequence[_Frame]) -> list[Sequence[_Frame]]:
    """Frames from each one that a person has labelled to the next, both included; no mask is carried beyond."""
    labelled = [number for number, frame in enumerate(frames) if frame.is_labelled]
    ends = sorted({0, *labelled, len(frames) - 1})
    return [frames[first : last + 1] for first, last in pairwise(ends)]


def _carry_both_ways(
    frames: Sequence[_Frame], options: SpreadOptions, flows: Flows, advance: Callable[[int], Any]
) -> list[tuple[_Frame, list[_Annotation]]]:
    """The frames that masks of people can be carried to, with these masks."""
    carried: dict[Any, list[_Annotation]] = defaultdict(list)
    for direction in (frames, frames[::-1]):
        for annotation in _carry(direction, options, flows, advance):
            carried[annotation["image_id"]].append(annotation)
    return [(f, carried[f.image["id"]]) for f in frames if f.image["id"] in carried]


def _carry(
    frames: Sequence[_Frame], options: SpreadOptions, flows: Flows, advance: Callable[[int], Any]
) -> Iterator[_Annotation]:
    """Carry masks of people from frame to frame in the given order, up to the next frame of a person."""
    sources: _Masks = []
    start: View | None = None
    flow: Flow | None = None
    steps = 0
    for before, frame in pairwise(frames):
        advance(1)
        if before.is_labelled:
            drawn = (a for a in before.annotations if not (is_pseudo_label(a) or is_crowd(a)))
            sources, start, flow, steps = before.masks(drawn), before.view(), None, 0
        steps += 1
        if frame.is_labelled or not sources or steps > options.max_frames:
            sources = []
            continue
        step = flows.between(before.path, frame.path)
        flow = step if flow is None else flow.compose(step)
        candidates = _candidates(flow, start, frame.view())
        going: _Masks = []
        for annotation, mask in sources:
            share, best = _best(candidates, mask)
            carried = best.warp(mask)
            if share >= options.min_share and carried.any():
                going.append((annotation, mask))
                yield _carried(annotation, carried, share, frame)
        sources = going


def _candidates(flow: Flow, one: View | None, other: View | None) -> list[Flow]:
    """Optical flow from one frame to another, then reprojection if both frames have depth."""
    return [flow] if one is None or other is None else [flow, reproject(one, other, flow)]


def _best(candidates: Sequence[Flow], mask: NDArray[np.bool_]) -> tuple[float, Flow]:
    """Share of a mask's pixels that a flow follows, and this flow: the last one if it follows clearly more."""
    shares = [each.consistent_share(mask) for each in candidates]
    best = len(candidates) - 1 if shares[-1] > shares[0] + _MIN_GAIN else 0
    return shares[best], candidates[best]


def _carried(
    source: _Annotation, mask: NDArray[np.bool_], share: float, frame: _Frame
) -> _Annotation:
    return {
        **{key: source[key] for key in _INHERITED if key in source},
        "id": None,
        "image_id": frame.image["id"],
        "bbox": list(Box.of_mask(mask).xywh),
        "area": int(mask.sum()),
        "iscrowd": 0,
        "segmentation": encode_segmentation(mask),
        "origin": PROPAGATED,
        "source_image_id": source["image_id"],
        "source_id": source["id"],
        "score": round(share, 4),
        PSEUDO_LABEL: True,
    }


def _join(frame: _Frame, carried: Sequence[_Annotation]) -> tuple[list[_Annotation], set[Any]]:
    """Replace pseudo-labels of a frame by carried masks.

    Returns:
        The carried masks without those that show an object again, from farther away; ids of what they replace.
    """
    kept: _Masks = []
    best_first = sorted(carried, key=lambda each: (-each["score"], str(each["source_id"])))
    for annotation, mask in frame.masks(best_first):
        if not any(_is_same(annotation, mask, *other) for other in kept):
            kept.append((annotation, mask))
    replaced = {
        annotation["id"]
        for annotation, mask in frame.masks(frame.annotations)
        if any(_is_same(annotation, mask, *other) for other in kept)
    }
    added = [annotation for annotation, _ in kept]
    frame.annotations = [a for a in frame.annotations if a["id"] not in replaced] + added
    return added, replaced


def _is_same(
    one: _Annotation, mask: NDArray[np.bool_], other: _Annotation, other_mask: NDArray[np.bool_]
) -> bool:
    if one["category_id"] != other["category_id"]:
        return False
    smaller = min(np.count_nonzero(mask), np.count_nonzero(other_mask))
    return bool(np.count_nonzero(mask & other_mask) >= max(1.0, _SAME_OBJECT * smaller))


class _Overlaps:
    """Overlaps of pseudo-labels with their neighbours in time, of one recording."""

    def __init__(self) -> None:
        self._made: dict[Any, _Annotation] = {}
        self._found: dict[Any, list[float]] = defaultdict(list)

    def add(self, frames: Sequence[_Frame], flows: Flows, advance: Callable[[int], Any]) -> None:
        """Add the frames of a stretch, in which all masks have been carried."""
        self._made |= {
            each["id"]: each
            for frame in frames
            for each in frame.annotations
            if is_pseudo_label(each)
            and not _is_carried(each)
            and ("agreement" in each or not is_crowd(each))
        }
        for one, other in pairwise(frames):
            advance(1)
            if any(each["id"] in self._made for each in one.annotations + other.annotations):
                flow = flows.between(one.path, other.path, for_good=True)
                candidates = _candidates(flow, one.view(), other.view())
                _, best = _best(candidates, np.ones((one.height, one.width), bool))
                self._compare(one, other, best.reverse())
                self._compare(other, one, best)

    def _compare(self, near: _Frame, far: _Frame, to_near: Flow) -> None:
        visible = to_near.visible()
        masks = [(a["category_id"], to_near.warp(m)) for a, m in far.masks(far.annotations)]
        for each, mask in near.masks(a for a in near.annotations if a["id"] in self._made):
            same = [m for category, m in masks if category == each["category_id"]]
            asked = same or each["category_id"] not in far.image.get(NOT_EXHAUSTIVE, ())
            if asked and mask[visible].any():
                overlaps = [mask_iou(mask[visible], m[visible]) for m in same]
                self._found[each["id"]].append(max(overlaps, default=0.0))

    def agreements(self) -> list[tuple[_Annotation, float]]:
        """Pseudo-labels with their agreement; those of a recording of one frame have none."""
        return [
            (self._made[number], float(np.mean(values))) for number, values in self._found.items()
        ]
