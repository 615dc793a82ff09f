"""``ovps segment PHOTO "mug handle" "mug rim" -o out.png``."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tabulate import tabulate

from ovps_core.cli.options import add_model_options, add_threshold_options, open_segmenter
from ovps_core.errors import QueryError, UsageError
from ovps_core.pipeline.drawing import draw_page
from ovps_core.pipeline.postprocess.components import SegmentOptions
from ovps_core.pipeline.preprocess import RgbImage, load_image
from ovps_core.segmenter import PartSegmenter
from ovps_core.structures.masks import PartMasks
from ovps_core.structures.query import PartQuery

_EPILOG = (
    "Phrases that the model cannot answer are refused on stderr with the reason; the others are answered. "
    "Exit status: 0 if every phrase was answered, also if nothing was found; 1 if one was refused, or on an error."
)
_SUFFIXES = (".png", ".jpg", ".jpeg")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``ovps segment``."""
    parser.epilog = _EPILOG
    parser.add_argument("photo", type=Path, help="a picture: JPEG, PNG, ...")
    parser.add_argument(
        "queries", nargs="+", help='parts to find: "mug handle", "rim of the mug", "knife"'
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        help="write the picture with its parts marked to this file (.png or .jpg)",
    )
    parser.add_argument("--masks", type=Path, help="write one 0/255 PNG per part into this folder")
    parser.add_argument(
        "--json", action="store_true", help="print JSON with the masks instead of the table"
    )
    add_threshold_options(parser)
    parser.add_argument(
        "--min-area",
        type=int,
        default=SegmentOptions().min_area,
        help="minimum number of pixels of a part",
    )
    add_model_options(parser)


def run(args: argparse.Namespace) -> int:
    """Segment one picture, write the files, print the parts.

    Raises:
        UsageError: the output does not end in .png or .jpg, or cannot be written.
        ImageError: the picture cannot be read.
    """
    if args.output and args.output.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"--output {args.output}: expected a name that ends in .png or .jpg")
    image = load_image(args.photo)
    options = SegmentOptions(
        score_threshold=args.score_threshold,
        mask_threshold=args.mask_threshold,
        min_area=args.min_area,
    )
    masks = _segment(open_segmenter(args), image, args.queries, options)
    for refused in masks.refused:
        print(f"ovps segment: {refused.reason}", file=sys.stderr)
    if masks.queries:
        _write_files(args, image, masks)
    if args.json:
        print(json.dumps(_answer(args.photo, masks), indent=1))
    elif masks.queries:
        print(tabulate(_rows(masks), headers="keys", floatfmt=".2f"))
    return 1 if masks.refused else 0


def _segment(
    segmenter: PartSegmenter, image: RgbImage, phrases: list[str], options: SegmentOptions
) -> PartMasks:
    """Masks for the phrases that can be answered; empty if every phrase is refused."""
    try:
        queries = segmenter.encode_queries(phrases)
    except QueryError as error:
        height, width = image.shape[:2]
        return PartMasks(height, width, (), (), segmenter.name, refused=error.refused)
    return segmenter.segment(image, queries, options)


def _write_files(args: argparse.Namespace, image: RgbImage, masks: PartMasks) -> None:
    if args.output:
        _write(args.output, draw_page(image, masks)[..., ::-1])
    if args.masks:
        for part in masks.parts:
            name = f"{part.id:02d} {part.query.text}".replace("/", " ")
            mask = part.full(masks.height, masks.width).astype(np.uint8) * 255
            _write(args.masks / f"{name}.png", mask)


def _answer(photo: Path, masks: PartMasks) -> dict[str, Any]:
    """The result, ready for JSON; docs/query.md describes it."""
    from ovps_core.datasets.label_files import encode_segmentation

    return {
        "image": str(photo),
        "height": masks.height,
        "width": masks.width,
        "model": masks.model,
        "queries": [_query(query) for query in masks.queries],
        "refused": [asdict(refused) for refused in masks.refused],
        "parts": [
            {
                "id": part.id,
                "query": _query(part.query),
                "score": round(part.score, 4),
                "roi": asdict(part.box),
                "area": part.area,
                "segmentation": encode_segmentation(part.full(masks.height, masks.width)),
            }
            for part in masks.parts
        ],
    }


def _query(query: PartQuery) -> dict[str, str]:
    return {"text": query.text, "object": query.object, "part": query.part}


def _rows(masks: PartMasks) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for query in masks.queries:
        found = masks.of(query)
        if not found:
            rows.append(
                {"query": query.text, "score": None, "pixels": 0, "box x y w h": "not found"}
            )
        for part in found:
            box = f"{part.box.x_offset} {part.box.y_offset} {part.box.width} {part.box.height}"
            rows.append(
                {
                    "query": query.text,
                    "score": part.score,
                    "pixels": part.area,
                    "box x y w h": box,
                }
            )
    return rows


def _write(path: Path, image: NDArray[np.uint8]) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        written = cv2.imwrite(str(path), image)
    except (cv2.error, OSError):
        written = False
    if not written:
        raise UsageError(f"cannot write {path}; name a folder that can be written")
