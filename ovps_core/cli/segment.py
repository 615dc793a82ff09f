"""``ovps segment PHOTO "mug handle" "mug rim" -o out.png``."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import cv2
from tabulate import tabulate

from ovps_core.cli.options import add_model_options, add_threshold_options, open_segmenter
from ovps_core.drawing import draw_masks
from ovps_core.errors import ImageError
from ovps_core.images import load_image
from ovps_core.postprocess import SegmentOptions
from ovps_core.results import PartMasks


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``ovps segment``."""
    defaults = SegmentOptions()
    parser.add_argument("photo", type=Path, help="a picture: JPEG, PNG, ...")
    parser.add_argument(
        "queries", nargs="+", help='what to find: "mug handle", "rim of the mug", "knife"'
    )
    parser.add_argument("-o", "--output", type=Path, help="write the overlay here (.png or .jpg)")
    parser.add_argument("--masks", type=Path, help="write one 0/255 PNG per part into this folder")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    add_threshold_options(parser)
    parser.add_argument(
        "--min-area", type=int, default=defaults.min_area, help="fewest pixels of a part"
    )
    add_model_options(parser)


def run(args: argparse.Namespace) -> int:
    """Segment one picture, write what was asked for, print what was found."""
    image = load_image(args.photo)
    options = SegmentOptions(
        score_threshold=args.score_threshold,
        mask_threshold=args.mask_threshold,
        min_area=args.min_area,
    )
    masks = open_segmenter(args).segment(image, args.queries, options)
    if args.output:
        _write(args.output, draw_masks(image, masks)[..., ::-1])
    if args.masks:
        for part in masks.parts:
            name = f"{part.id:02d} {part.query.text}".replace("/", " ")
            _write(args.masks / f"{name}.png", part.full(masks.height, masks.width) * 255)
    rows = _rows(masks)
    print(
        json.dumps(rows, indent=2) if args.json else tabulate(rows, headers="keys", floatfmt=".2f")
    )
    return 0


def _rows(masks: PartMasks) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for query in masks.queries:
        found = masks.of(query)
        if not found:
            rows.append(
                {"query": query.text, "score": None, "pixels": 0, "box x y w h": "not found"}
            )
        for part in found:
            box = f"{part.roi.x_offset} {part.roi.y_offset} {part.roi.width} {part.roi.height}"
            rows.append(
                {
                    "query": query.text,
                    "score": round(part.score, 3),
                    "pixels": part.area,
                    "box x y w h": box,
                }
            )
    return rows


def _write(path: Path, image) -> None:  # type: ignore[no-untyped-def]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        written = cv2.imwrite(str(path), image.astype("uint8"))
    except cv2.error:
        written = False
    if not written:
        raise ImageError(f"cannot write {path}; expected a name that ends in .png or .jpg")
