"""``ovps annotate boxes DIR --out masks.json``."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path

from tabulate import tabulate

from ovps_core.cli.options import (
    add_object_model_options,
    at_least,
    open_object_segmenter,
    probability,
)
from ovps_core.structures.requirements import require_packages


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``ovps annotate boxes``."""
    parser.description = (
        "A mask for each box of a COCO file, decoded from the box and its name. The same command continues an "
        "interrupted run."
    )
    parser.add_argument(
        "source", type=Path, metavar="DIR", help="a folder with annotations.json, or a COCO file"
    )
    parser.add_argument("--out", type=Path, required=True, help="the COCO file to write")
    parser.add_argument(
        "--images", type=Path, help="folder of the pictures, if they are not beside the file"
    )
    parser.add_argument(
        "--min-score",
        type=probability,
        default=0.0,
        help="lowest mean probability over a mask; a box with a worse mask is written as a crowd region",
    )
    parser.add_argument(
        "--limit",
        type=at_least(0),
        default=0,
        metavar="N",
        help="only the first N images; 0 for all",
    )
    add_object_model_options(parser)


def run(args: argparse.Namespace) -> int:
    """Write the masks, print the counts.

    Raises:
        OvpsError: the data or the model cannot be used, or the file cannot be written.
    """
    require_packages("torch", extra="torch")
    # `ovps annotate frames` declares these arguments too, and needs no PyTorch.
    from ovps_core.bulk.box_annotation import annotate_boxes

    counts = asdict(
        annotate_boxes(
            args.source,
            args.out,
            open_object_segmenter(args),
            images=args.images,
            min_score=args.min_score,
            limit=args.limit,
        )
    )
    damaged = counts.pop("damaged")
    print(tabulate(counts.items(), headers=(str(args.out), "")))
    if damaged:
        print(f"left out, since they cannot be read: {', '.join(damaged)}")
    return 0
