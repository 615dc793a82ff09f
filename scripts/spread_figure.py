"""IoU of masks that ``ovps label spread`` carries through frames, of the simulated camera or of a recording."""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from ovps_core.datasets.coco_folder import ANNOTATIONS, CocoFolder
from ovps_core.datasets.label_files import read_json
from ovps_core.datasets.segmentations import decode_segmentation, encode_segmentation
from ovps_core.labelling.spread import SpreadOptions, spread_labels
from ovps_core.pipeline.preprocess import RgbImage
from ovps_core.structures.image_files import load_image, save_image
from ovps_core.structures.masks import mask_iou
from ovps_core.structures.whole_files import write_json
from ovps_core.synthetic.live import LiveScene

OBJECTS = ("knife", "mug", "pan", "hammer")
STEPS = (1, 5, 10)
SECONDS = 0.1
MIN_PIXELS = 100

Truth = Mapping[tuple[str, str], NDArray[np.bool_]]
"""True masks bool [H, W] of a frame by (object, part)."""


def measure(
    frames: Sequence[RgbImage], truths: Mapping[int, Truth], folder: Path
) -> dict[int, list[float]]:
    """IoU after each number of frames; the first frame is labelled with its true masks."""
    keys = [key for key, mask in truths[0].items() if mask.sum() >= MIN_PIXELS]
    images = []
    for number, frame in enumerate(frames):
        save_image(folder / f"{number}.png", frame)
        images.append({"id": number, "file_name": f"{number}.png", "stamp_ns": number})
    categories = [{"id": n, "object": key[0], "part": key[1]} for n, key in enumerate(keys)]
    annotations = [
        {
            "id": n,
            "image_id": 0,
            "category_id": n,
            "segmentation": encode_segmentation(truths[0][key]),
        }
        for n, key in enumerate(keys)
    ]
    content = {"images": images, "annotations": annotations, "categories": categories}
    write_json(folder / ANNOTATIONS, content)
    spread_labels(folder, SpreadOptions(max_frames=len(frames)))
    found: dict[int, list[float]] = defaultdict(list, {0: [1.0] * len(keys)})
    for each in read_json(folder / ANNOTATIONS)["annotations"][len(keys) :]:
        truth = truths.get(each["image_id"], {}).get(keys[each["category_id"]])
        if truth is not None:
            height, width = truth.shape
            mask = decode_segmentation(each["segmentation"], height, width, "carried")
            found[each["image_id"]].append(mask_iou(mask, truth))
    return found


def simulated() -> Iterator[tuple[list[RgbImage], dict[int, Truth]]]:
    """Frames of four scenes, 0.1 s apart, with the true masks of each."""
    for seed in range(4):
        scene = LiveScene(OBJECTS, seed=seed)
        frames = [scene.frame(SECONDS * number) for number in range(max(STEPS) + 1)]
        scene.close()
        yield [frame.rgb for frame in frames], {n: f.masks for n, f in enumerate(frames)}


def recorded(folder: Path) -> Iterator[tuple[list[RgbImage], dict[int, Truth]]]:
    """Frames of each folder from the first labelled one, and the masks of those that are labelled.

    Frames without labels lie beside them, and their names differ in the number that they begin with.
    """
    labelled = CocoFolder(folder)
    by_path = {image.path: image for image in labelled.images}
    for parent in dict.fromkeys(path.parent for path in by_path):
        first = min(path for path in by_path if path.parent == parent)
        beside = sorted(parent.glob(f"*{first.name.lstrip('0123456789')}"))
        paths = beside[beside.index(first) :]
        frames = [load_image(path) for path in paths]
        truths: dict[int, Truth] = {}
        for number, path in enumerate(paths):
            if path in by_path:
                masks = labelled.masks(by_path[path], *frames[number].shape[:2])
                truths[number] = {(each.object, each.part): mask for each, mask in masks.items()}
        yield frames, truths


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "frames", nargs="?", type=Path, help="labelled frames of a recording; without it scenes"
    )
    folder = parser.parse_args().frames
    found: dict[int, list[float]] = defaultdict(list)
    for frames, truths in recorded(folder) if folder else simulated():
        with tempfile.TemporaryDirectory() as place:
            for step, values in measure(frames, truths, Path(place)).items():
                found[step] += values
    steps = sorted(found) if folder else (0, *STEPS)
    rows = [(n, len(found[n]), np.mean(found[n]), np.quantile(found[n], 0.1)) for n in steps]
    headers = ("frames", "masks", "mean IoU", "IoU of the worst tenth, at most")
    print(tabulate(rows, headers=headers, floatfmt=".2f"))


if __name__ == "__main__":
    main()
