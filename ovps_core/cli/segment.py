"""``ovps segment PHOTO "mug handle" "mug rim" -o out.png``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
from tabulate import tabulate

from ovps_core.cli.options import add_model_options, add_threshold_options, open_segmenter
from ovps_core.datasets.label_files import encode_segmentation
from ovps_core.errors import ImageError, QueryError
from ovps_core.language.parser import phrases
from ovps_core.pipeline.drawing import draw_page
from ovps_core.pipeline.postprocess.components import SegmentOptions
from ovps_core.pipeline.preprocess import load_image
from ovps_core.segmenter import PartSegmenter
from ovps_core.structures.masks import PartMasks
from ovps_core.structures.query import PartQuery

EPILOG = (
    "Words that the model cannot be asked for are named on stderr with the reason, and the others are answered. "
    "Exit status: 0 when all were asked, found or not; 1 when any was refused, or nothing could be done."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``ovps segment``."""
    defaults = SegmentOptions()
    parser.epilog = EPILOG
    parser.add_argument("photo", type=Path, help="a picture: JPEG, PNG, ...")
    parser.add_argument(
        "queries", nargs="+", help='what to find: "mug handle", "rim of the mug", "knife"'
    )
    parser.add_argument("-o", "--output", type=Path, help="write the overlay here (.png or .jpg)")
    parser.add_argument("--masks", type=Path, help="write one 0/255 PNG per part into this folder")
    parser.add_argument(
        "--json", action="store_true", help="print JSON, masks and all, in place of the table"
    )
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
    segmenter = open_segmenter(args)
    queries, refused = _sort_out(segmenter, args.queries)
    for reason in refused.values():
        print(f"ovps segment: {reason}", file=sys.stderr)
    if not queries:
        return 1
    masks = segmenter.segment(image, queries, options)
    if args.output:
        _write(args.output, draw_page(image, masks)[..., ::-1])
    if args.masks:
        for part in masks.parts:
            name = f"{part.id:02d} {part.query.text}".replace("/", " ")
            _write(args.masks / f"{name}.png", part.full(masks.height, masks.width) * 255)
    if args.json:
        print(json.dumps(_answer(args.photo, masks, refused), indent=1))
    else:
        print(tabulate(_rows(masks), headers="keys", floatfmt=".2f"))
    return 1 if refused else 0


def _sort_out(
    segmenter: PartSegmenter, texts: Sequence[str]
) -> tuple[list[PartQuery], dict[str, str]]:
    """What the model can be asked, and why it cannot be asked the rest: phrase -> reason."""
    queries: list[PartQuery] = []
    refused: dict[str, str] = {}
    for phrase in (phrase for text in texts for phrase in phrases(text)):
        try:
            queries += segmenter.encode_queries(phrase).queries
        except QueryError as error:
            refused[phrase] = str(error)
    return queries, refused


def _answer(photo: Path, masks: PartMasks, refused: Mapping[str, str]) -> dict[str, Any]:
    """What was found, ready for JSON; docs/query.md describes it."""
    return {
        "image": str(photo),
        "height": masks.height,
        "width": masks.width,
        "model": masks.model,
        "queries": [_query(query) for query in masks.queries],
        "refused": [{"text": text, "reason": reason} for text, reason in refused.items()],
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


def _write(path: Path, image) -> None:  # type: ignore[no-untyped-def]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        written = cv2.imwrite(str(path), image.astype("uint8"))
    except cv2.error:
        written = False
    if not written:
        raise ImageError(f"cannot write {path}; expected a name that ends in .png or .jpg")
