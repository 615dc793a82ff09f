"""``ovps detect PICTURE "knife" "mug" -o out.png``."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tabulate import tabulate

from ovps_core.cli.options import (
    add_object_model_options,
    at_least,
    open_object_segmenter,
    probability,
)
from ovps_core.cli.output import (
    check_inputs_stay,
    check_picture_name,
    check_pictures_are_no_masks,
    json_text,
    unread_json,
    write_masks,
)
from ovps_core.errors import ImageError
from ovps_core.language.object_names import ObjectNames
from ovps_core.pipeline.drawing import draw_objects
from ovps_core.pipeline.postprocess.panoptic_options import PanopticOptions
from ovps_core.structures.image_files import load_image, save_image
from ovps_core.structures.masks import ObjectMask, ObjectMasks

_TASKS = ("instance", "panoptic", "semantic")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``ovps detect``."""
    parser.add_argument("picture", type=Path, help="a picture: JPEG, PNG, ...")
    parser.add_argument("names", nargs="+", help='objects to find: "knife", "mug"')
    parser.add_argument(
        "--stuff",
        nargs="+",
        default=[],
        metavar="NAME",
        help='what fills the rest of the picture, for panoptic and semantic: "wall", "floor"',
    )
    parser.add_argument(
        "--task",
        default="instance",
        choices=_TASKS,
        help="instance: objects, which may overlap; panoptic: objects and stuff without overlap; "
        "semantic: one name for every pixel",
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        help="write the picture with its objects marked to this file (.png or .jpg)",
    )
    parser.add_argument(
        "--masks", type=Path, help="write one 0/255 PNG per object into this folder"
    )
    parser.add_argument(
        "--json", action="store_true", help="print JSON with the masks instead of the table"
    )
    parser.add_argument(
        "--score-threshold",
        type=probability,
        default=PanopticOptions.score_threshold,
        help="minimum score of an object; not for semantic",
    )
    parser.add_argument(
        "--max-objects",
        type=at_least(1),
        default=100,
        help="maximum number of objects, for instance",
    )
    add_object_model_options(parser)


def run(args: argparse.Namespace) -> int:
    """Find objects in one picture, write the files, print the objects.

    Raises:
        UsageError: the output does not end in .png or .jpg, or an argument is out of range.
        OutputError: a file cannot be written.
        ImageError: the picture cannot be read.
        QueryError: a name is empty.
    """
    check_picture_name(args.output)
    check_inputs_stay([args.output], [args.picture, Path(args.model)])
    try:
        image = load_image(args.picture)
    except ImageError as error:
        if args.json:
            print(json_text(unread_json(str(args.picture), error)))
        raise
    names = ObjectNames.of(args.names, args.stuff)
    if args.masks:
        check_pictures_are_no_masks([args.masks], [args.picture], names.all)
    segmenter = open_object_segmenter(args)
    if args.task == "panoptic":
        options = PanopticOptions(score_threshold=args.score_threshold)
        found = segmenter.panoptic(image, names, options=options)
    elif args.task == "semantic":
        found = segmenter.semantic(image, names)
    else:
        found = segmenter.detect(
            image, names, score_threshold=args.score_threshold, max_objects=args.max_objects
        )
    if args.output:
        save_image(args.output, draw_objects(image, found))
    if args.masks:
        write_masks(args.masks, found.as_part_masks())
    if args.json:
        print(json_text(_answer(args.picture, args.task, found)))
    else:
        print(tabulate(_rows(found), headers="keys", floatfmt=".2f"))
    return 0


def _answer(picture: Path, task: str, found: ObjectMasks) -> dict[str, Any]:
    """The result, ready for JSON."""
    from ovps_core.datasets.segmentations import encode_segmentation

    return {
        "image": str(picture),
        "task": task,
        "height": found.height,
        "width": found.width,
        "model": found.model,
        "names": list(found.names),
        "objects": [
            {
                "id": each.id,
                "name": each.name,
                "is_thing": each.is_thing,
                "score": round(each.score, 4),
                "predicted_box": each.predicted_box,
                "roi": asdict(each.box),
                "area": each.area,
                "segmentation": encode_segmentation(each.full(found.height, found.width)),
            }
            for each in found.objects
        ],
    }


def _rows(found: ObjectMasks) -> list[dict[str, object]]:
    rows = [_row(each) for name in found.names for each in found.of(name)]
    missing = [name for name in found.names if not found.of(name)]
    return rows + [
        {"name": name, "score": None, "pixels": 0, "box x y w h": "not found"} for name in missing
    ]


def _row(each: ObjectMask) -> dict[str, object]:
    box = " ".join(map(str, each.box.xywh))
    return {"name": each.name, "score": each.score, "pixels": each.area, "box x y w h": box}
