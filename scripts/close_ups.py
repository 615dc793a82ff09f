"""Squares around single objects of rendered scenes, as a folder of scenes: small networks see their parts there.

    ovps render --level tabletop --objects pot kettle jar mug --count 768 --out scenes/train
    python -m scripts.close_ups scenes/train close/train

Comparisons in docs/partcatseg.md were made on such squares.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from ovps_core.datasets.label_files import read_json
from ovps_core.structures.boxes import Box
from ovps_core.structures.whole_files import write_json
from ovps_core.synthetic.generate import save_shard
from ovps_core.synthetic.reader import RenderedScenes
from ovps_core.synthetic.settings import SCENES_PER_SHARD, Scene

_MARGIN = 0.1  # share of an object's longer side around it
_SMALLEST = 40  # longer side of an object that is cut out, pixels
_HEADER = "scenes.json"


def close_ups(scenes: RenderedScenes, side: int) -> Iterator[Scene]:
    """Squares of ``side`` pixels around each object that is large enough; beyond the picture is background."""
    for index in range(len(scenes)):
        scene = scenes[index]
        for value in np.unique(scene.objects[scene.objects > 0]):
            x1, y1, x2, y2 = Box.of_mask(scene.objects == value).corners
            longer = max(x2 - x1, y2 - y1)
            if longer >= _SMALLEST:
                yield _cut(scene, (x1 + x2) / 2, (y1 + y2) / 2, longer * (1 + 2 * _MARGIN), side)


def _cut(scene: Scene, x: float, y: float, length: float, side: int) -> Scene:
    scale = side / length
    move = np.array([[scale, 0, side / 2 - scale * x], [0, scale, side / 2 - scale * y]])

    def cut(picture: np.ndarray, interpolation: int, border: int) -> np.ndarray:
        return cv2.warpAffine(picture, move, (side, side), flags=interpolation, borderMode=border)

    rgb = cut(np.asarray(scene.rgb), cv2.INTER_AREA, cv2.BORDER_REPLICATE)
    parts, objects = (
        cut(np.asarray(labels), cv2.INTER_NEAREST, cv2.BORDER_CONSTANT)
        for labels in (scene.parts, scene.objects)
    )
    camera = np.vstack([move, [0, 0, 1]]) @ scene.intrinsics
    return replace(scene, rgb=rgb, parts=parts, objects=objects, depth=None, intrinsics=camera)


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenes", type=Path, help="folder of rendered scenes")
    parser.add_argument("out", type=Path, help="new folder")
    parser.add_argument("--side", type=int, default=96, help="of a square, pixels")
    args = parser.parse_args()
    found = list(close_ups(RenderedScenes(args.scenes), args.side))
    args.out.mkdir(parents=True)
    for shard, first in enumerate(range(0, len(found), SCENES_PER_SHARD)):
        save_shard(args.out, shard, found[first : first + SCENES_PER_SHARD])
    header = read_json(args.scenes / _HEADER)
    header["settings"] |= {"count": len(found), "size": args.side}
    write_json(args.out / _HEADER, {**header, "scenes_per_shard": SCENES_PER_SHARD})
    print(f"{len(found)} squares in {args.out}")


if __name__ == "__main__":
    main()
