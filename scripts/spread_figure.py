"""IoU of masks that ``ovps label spread`` carries through frames of the simulated camera, 0.1 s apart."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
from tabulate import tabulate

from ovps_core.datasets.coco_folder import ANNOTATIONS
from ovps_core.datasets.label_files import read_json
from ovps_core.datasets.segmentations import decode_segmentation, encode_segmentation
from ovps_core.labelling.spread import SpreadOptions, spread_labels
from ovps_core.structures.image_files import save_image
from ovps_core.structures.masks import mask_iou
from ovps_core.structures.whole_files import write_json
from ovps_core.synthetic.live import Frame, LiveScene

OBJECTS = ("knife", "mug", "pan", "hammer")
STEPS = (1, 5, 10)
SECONDS = 0.1
MIN_PIXELS = 100


def measure(frames: list[Frame], folder: Path) -> dict[int, list[float]]:
    """IoU after each number of frames, where the first frame is labelled with its true masks."""
    keys = [key for key, mask in frames[0].masks.items() if mask.sum() >= MIN_PIXELS]
    images = []
    for number, frame in enumerate(frames):
        save_image(folder / f"{number}.png", frame.rgb)
        images.append({"id": number, "file_name": f"{number}.png", "stamp_ns": number})
    categories = [{"id": n, "object": key[0], "part": key[1]} for n, key in enumerate(keys)]
    annotations = [
        {
            "id": n,
            "image_id": 0,
            "category_id": n,
            "segmentation": encode_segmentation(frames[0].masks[key]),
        }
        for n, key in enumerate(keys)
    ]
    content = {"images": images, "annotations": annotations, "categories": categories}
    write_json(folder / ANNOTATIONS, content)
    spread_labels(folder, SpreadOptions(max_frames=max(STEPS)))
    found: dict[int, list[float]] = defaultdict(list, {0: [1.0] * len(keys)})
    for each in read_json(folder / ANNOTATIONS)["annotations"][len(keys) :]:
        truth = frames[each["image_id"]].masks[keys[each["category_id"]]]
        mask = decode_segmentation(each["segmentation"], *truth.shape, "carried")
        found[each["image_id"]].append(mask_iou(mask, truth))
    return found


def main() -> None:
    """Print the table."""
    found: dict[int, list[float]] = defaultdict(list)
    for seed in range(4):
        scene = LiveScene(OBJECTS, seed=seed)
        frames = [scene.frame(SECONDS * number) for number in range(max(STEPS) + 1)]
        scene.close()
        with tempfile.TemporaryDirectory() as folder:
            for step, values in measure(frames, Path(folder)).items():
                found[step] += values
    rows = [(n, len(found[n]), np.mean(found[n]), np.quantile(found[n], 0.1)) for n in (0, *STEPS)]
    headers = ("frames", "masks", "mean IoU", "IoU of the worst tenth, at most")
    print(tabulate(rows, headers=headers, floatfmt=".2f"))


if __name__ == "__main__":
    main()
