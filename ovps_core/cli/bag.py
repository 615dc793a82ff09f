"""``ovps bag extract BAG --out DIR`` and ``ovps bag annotate BAG --queries "knife handle" --out BAG2``."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Mapping
from pathlib import Path

from tabulate import tabulate

from ovps_core.cli.options import add_model_options, add_threshold_options, open_segmenter
from ovps_core.errors import DatasetError
from ovps_core.pipeline.postprocess.components import SegmentOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``ovps bag``."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    formatter = argparse.ArgumentDefaultsHelpFormatter
    extract = actions.add_parser(
        "extract",
        help="pictures, depth and COCO annotations in a folder",
        formatter_class=formatter,
    )
    _add_topics(extract)
    extract.add_argument(
        "--masks", metavar="T", default="", help="topic of PartMasks, for annotations"
    )
    _add_out(extract, "folder to write")
    kept = extract.add_mutually_exclusive_group()
    kept.add_argument("--every", type=int, default=1, metavar="N", help="keep one image of N")
    kept.add_argument(
        "--min-motion",
        type=float,
        default=0.0,
        metavar="PX",
        help="keep images that moved by so many pixels since the last one kept",
    )
    annotate = actions.add_parser(
        "annotate", help="part masks and poses in a second recording", formatter_class=formatter
    )
    _add_topics(annotate)
    annotate.add_argument(
        "--queries",
        required=True,
        default=argparse.SUPPRESS,
        help='what to find: "knife handle, rim of the mug"',
    )
    _add_out(annotate, "recording to write")
    add_threshold_options(annotate)
    add_model_options(annotate)


def run(args: argparse.Namespace) -> int:
    """Extract or annotate; print what was counted."""
    if importlib.util.find_spec("rosbags") is None:
        raise DatasetError("recordings are read with rosbags: pip install 'ovps[bags]'")
    counts = _extract(args) if args.action == "extract" else _annotate(args)
    print(tabulate(counts.items(), headers=(str(args.out), "")))
    return 0


def _extract(args: argparse.Namespace) -> Mapping[str, int]:
    from ovps_core.ros_io.bags import BagTopics, ExtractOptions, extract

    if args.every < 1:
        raise DatasetError(f"--every {args.every}; expected 1 or more")
    topics = BagTopics(_image_topic(args), args.depth, args.info, args.masks)
    options = ExtractOptions(args.every, args.min_motion, args.slop, args.depth_scale)
    manifest = extract(args.bag, topics, args.out, options)
    kept = {name: manifest[name] for name in ("images", "annotations")}
    return {**kept, **manifest["dropped"]}


def _annotate(args: argparse.Namespace) -> Mapping[str, int]:
    from ovps_core.ros_io.bags import AnnotateOptions, BagTopics, annotate

    if bool(args.depth) != bool(args.info):
        raise DatasetError("parts in space need both --depth and --info; one of them is missing")
    topics = BagTopics(_image_topic(args), args.depth, args.info)
    segment = SegmentOptions(args.score_threshold, args.mask_threshold)
    options = AnnotateOptions(segment, slop_s=args.slop, depth_scale=args.depth_scale)
    return annotate(args.bag, topics, args.out, open_segmenter(args), args.queries, options)


def _add_topics(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bag", type=Path, help="a rosbag2 folder, or its .mcap or .db3 file")
    topics = {
        "--image": "topic of the colour image; the only one there is when not given",
        "--depth": "topic of depth aligned to the colour image",
        "--info": "topic of the colour image's camera_info",
    }
    for name, says in topics.items():
        parser.add_argument(name, metavar="T", default="", help=says)
    parser.add_argument(
        "--slop", type=float, default=0.02, help="most seconds between stamps that belong together"
    )
    parser.add_argument(
        "--depth-scale", type=float, default=0.001, help="metres of one step of 16-bit depth"
    )


def _add_out(parser: argparse.ArgumentParser, says: str) -> None:
    parser.add_argument("--out", type=Path, required=True, default=argparse.SUPPRESS, help=says)


def _image_topic(args: argparse.Namespace) -> str:
    from ovps_core.ros_io.bags.reading import only_image_topic, open_bag

    if args.image:
        return str(args.image)
    with open_bag(args.bag) as reader:
        return only_image_topic(reader)
