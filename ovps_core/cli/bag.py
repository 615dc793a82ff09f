"""``ovps bag extract BAG --out DIR`` and ``ovps bag annotate BAG --queries "knife handle" --out BAG2``."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Mapping
from pathlib import Path

from tabulate import tabulate

from ovps_core.cli.options import add_model_options, add_threshold_options, open_segmenter
from ovps_core.errors import MissingDependencyError, UsageError
from ovps_core.pipeline.postprocess.components import SegmentOptions


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``ovps bag``."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    extract = actions.add_parser(
        "extract",
        help="pictures, depth and COCO annotations in a folder",
    )
    _add_topics(extract)
    extract.add_argument(
        "--masks", metavar="T", default="", help="topic of PartMasks, for annotations"
    )
    _add_out(extract, "folder to write")
    kept = extract.add_mutually_exclusive_group()
    kept.add_argument("--every", type=int, default=1, metavar="N", help="keep every Nth image")
    kept.add_argument(
        "--min-motion",
        type=float,
        default=0.0,
        metavar="PX",
        help="keep an image only after this much motion since the last one kept, pixels",
    )
    annotate = actions.add_parser("annotate", help="part masks and poses in a second recording")
    _add_topics(annotate)
    annotate.add_argument(
        "--queries",
        required=True,
        help='parts to find: "knife handle, rim of the mug"',
    )
    _add_out(annotate, "recording to write")
    add_threshold_options(annotate)
    add_model_options(annotate)


def run(args: argparse.Namespace) -> int:
    """Extract or annotate; print the counts."""
    if importlib.util.find_spec("rosbags") is None:
        raise MissingDependencyError("recordings are read with rosbags: pip install 'ovps[bags]'")
    counts = _extract(args) if args.action == "extract" else _annotate(args)
    print(tabulate(counts.items(), headers=(str(args.out), "")))
    return 0


def _extract(args: argparse.Namespace) -> Mapping[str, int]:
    from ovps_core.ros_io.bags import BagTopics, ExtractOptions, extract

    if args.every < 1:
        raise UsageError(f"--every {args.every}; expected 1 or more")
    topics = BagTopics(_image_topic(args), args.depth, args.info, args.masks)
    options = ExtractOptions(args.every, args.min_motion, args.slop, args.depth_scale)
    manifest = extract(args.bag, topics, args.out, options)
    kept = {name: manifest[name] for name in ("images", "annotations")}
    return {**kept, **manifest["dropped"]}


def _annotate(args: argparse.Namespace) -> Mapping[str, int]:
    from ovps_core.ros_io.bags import AnnotateOptions, BagTopics, annotate

    if bool(args.depth) != bool(args.info):
        raise UsageError("parts in space need both --depth and --info; one of them is missing")
    topics = BagTopics(_image_topic(args), args.depth, args.info)
    segment = SegmentOptions(args.score_threshold, args.mask_threshold)
    options = AnnotateOptions(segment, slop_s=args.slop, depth_scale=args.depth_scale)
    return annotate(args.bag, topics, args.out, open_segmenter(args), args.queries, options)


def _add_topics(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bag", type=Path, help="a rosbag2 folder, or its .mcap or .db3 file")
    topics = {
        "--image": "topic of the colour image; needed if the recording has several",
        "--depth": "topic of depth aligned to the colour image",
        "--info": "topic of the colour image's camera_info",
    }
    for name, description in topics.items():
        parser.add_argument(name, metavar="T", default="", help=description)
    parser.add_argument(
        "--slop",
        type=float,
        default=0.02,
        help="maximum difference between stamps of one frame, seconds",
    )
    parser.add_argument(
        "--depth-scale", type=float, default=0.001, help="metres per unit of 16-bit depth"
    )


def _add_out(parser: argparse.ArgumentParser, description: str) -> None:
    parser.add_argument("--out", type=Path, required=True, help=description)


def _image_topic(args: argparse.Namespace) -> str:
    from ovps_core.ros_io.bags.reading import only_image_topic, open_bag

    if args.image:
        return str(args.image)
    with open_bag(args.bag) as reader:
        return only_image_topic(reader)
