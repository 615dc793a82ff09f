"""IoU of masks that ``ovps label spread`` carries through frames, of the simulated camera or of a recording."""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from tabulate import tabulate

from ovps_core.datasets.coco_folder import ANNOTATIONS, CocoFolder
from ovps_core.datasets.label_files import read_json
from ovps_core.datasets.posed_camera import CAMERA, DEPTH_FILE, PosedCamera
from ovps_core.datasets.segmentations import decode_segmentation, encode_segmentation
from ovps_core.labelling.spread import SpreadOptions, spread_labels
from ovps_core.pipeline.preprocess import RgbImage
from ovps_core.structures.camera import CameraIntrinsics
from ovps_core.structures.image_files import load_image, save_image
from ovps_core.structures.masks import mask_iou
from ovps_core.structures.whole_files import write_json
from ovps_core.synthetic.live import LiveScene

Truth = Mapping[tuple[str, str], NDArray[np.bool_]]
"""True masks bool [H, W] of a frame by (object, part)."""
DepthAndCamera = tuple[NDArray[np.float32], PosedCamera]
"""Depth [H, W] of a frame, metres, and its camera."""

OBJECTS = ("knife", "mug", "pan", "hammer")
STEPS = (1, 5, 10)
MIN_PIXELS = 100


def measure(
    frames: Sequence[RgbImage],
    truths: Mapping[int, Truth],
    views: Sequence[DepthAndCamera],
    folder: Path,
) -> dict[int, list[float]]:
    """IoU after each number of frames; the first frame is labelled with its true masks."""
    keys = [key for key, mask in truths[0].items() if mask.sum() >= MIN_PIXELS]
    images: list[dict[str, Any]] = []
    for number, frame in enumerate(frames):
        save_image(folder / f"{number}.png", frame)
        images.append({"id": number, "file_name": f"{number}.png", "stamp_ns": number})
    for image, (depth, camera) in zip(images, views, strict=False):
        image |= {DEPTH_FILE: f"depth_{image['id']}.png", CAMERA: camera.entry()}
        save_image(folder / image[DEPTH_FILE], np.rint(depth * 1000).astype(np.uint16))
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


def simulated(
    seconds: float, count: int, pose_error: tuple[float, float]
) -> Iterator[tuple[list[RgbImage], dict[int, Truth], list[DepthAndCamera]]]:
    """Frames of four scenes, with the true masks and the view of each.

    Args:
        seconds: between frames.
        count: frames of a scene.
        pose_error: root of the mean squared error of the camera's pose, in degrees and metres.
    """
    for seed in range(4):
        scene = LiveScene(OBJECTS, seed=seed)
        frames = [scene.frame(seconds * number) for number in range(count)]
        scene.close()
        rng = np.random.default_rng(seed)
        views = []
        for frame in frames:
            camera = CameraIntrinsics.from_matrix(frame.intrinsics, scene.width, scene.height)
            error = np.eye(4)
            turn, error[:3, 3] = (rng.normal(0, size / 3**0.5, 3) for size in pose_error)
            error[:3, :3] = Rotation.from_rotvec(turn, degrees=True).as_matrix()
            views.append((frame.depth, PosedCamera(camera, frame.camera_pose @ error)))
        yield [frame.rgb for frame in frames], {n: f.masks for n, f in enumerate(frames)}, views


def recorded(
    folder: Path,
) -> Iterator[tuple[list[RgbImage], dict[int, Truth], list[DepthAndCamera]]]:
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
        yield frames, truths, []


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "frames", nargs="?", type=Path, help="labelled frames of a recording; without it scenes"
    )
    parser.add_argument(
        "--seconds", type=float, default=0.1, help="between frames of the scenes; a circle takes 20"
    )
    parser.add_argument(
        "--steps",
        type=int,
        nargs="+",
        default=STEPS,
        help="frames of the scenes after which to look",
    )
    parser.add_argument("--depth", action="store_true", help="use depth and poses of the scenes")
    parser.add_argument(
        "--pose-error", type=float, nargs=2, default=(0, 0), metavar=("DEGREES", "METRES")
    )
    args = parser.parse_args()
    found: dict[int, list[float]] = defaultdict(list)
    scenes = (
        recorded(args.frames)
        if args.frames
        else simulated(args.seconds, max(args.steps) + 1, args.pose_error)
    )
    for frames, truths, views in scenes:
        with tempfile.TemporaryDirectory() as place:
            used = views if args.depth else []
            for step, values in measure(frames, truths, used, Path(place)).items():
                found[step] += values
    steps = sorted(found) if args.frames else (0, *args.steps)
    rows = [(n, len(found[n]), np.mean(found[n]), np.quantile(found[n], 0.1)) for n in steps]
    headers = ("frames", "masks", "mean IoU", "IoU of the worst tenth, at most")
    print(tabulate(rows, headers=headers, floatfmt=".2f"))


if __name__ == "__main__":
    main()
