"""``ovps bag extract BAG --out DIR`` and ``ovps bag annotate BAG --queries "knife handle" --out BAG2``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from tabulate import tabulate

from ovps_core.cli.options import (
    add_model_options,
    add_object_option,
    add_threshold_options,
    at_least,
    open_segmenter,
)
from ovps_core.errors import UsageError
from ovps_core.pipeline.postprocess.components import SegmentOptions
from ovps_core.structures.query import RefusedQuery
from ovps_core.structures.requirements import require_packages

_RESULTS = ("images", "annotations", "masks", "parts in space")
_CHOSEN = ("between those kept", "too little motion")
"""Why images are left out that could be used."""
_WITHOUT_DEPTH = ("no depth", "no camera_info", "unusable")
"""How the reasons begin for which an image gets masks, but no parts in space."""
_WITHOUT_POSE = "no camera pose: "


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
    extract.add_argument(
        "--fixed-frame",
        metavar="F",
        default="",
        help="frame in which the scene stands still, such as odom: writes the camera's pose in it, by /tf",
    )
    _add_out(extract, "folder to write")
    kept = extract.add_mutually_exclusive_group()
    kept.add_argument(
        "--every", type=at_least(1), default=1, metavar="N", help="keep every Nth image"
    )
    kept.add_argument(
        "--min-motion",
        type=at_least(0, float),
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
    annotate.add_argument(
        "--depth-info",
        metavar="T",
        default="",
        help="topic of the depth camera's camera_info, for depth that is not aligned; needs /tf_static",
    )
    _add_out(annotate, "recording to write")
    add_threshold_options(annotate)
    add_model_options(annotate)
    add_object_option(annotate)


def run(args: argparse.Namespace) -> int:
    """Extract or annotate; print the counts. The status is 1 if a phrase is refused, or nothing could be used."""
    require_packages("rosbags", extra="bags")
    refused: tuple[RefusedQuery, ...] = ()
    if args.action == "extract":
        counts = _extract(args)
    else:
        counts, refused = _annotate(args)
    print(tabulate(counts.items(), headers=(str(args.out), "")))
    # an image that is extracted has its depth
    if args.action == "annotate":
        fault = _fault(counts, "depth that could be used", _WITHOUT_DEPTH if args.depth else ())
    else:
        fault = _fault(counts, "a camera pose", (_WITHOUT_POSE,))
    if fault:
        print(f"ovps bag: {fault}", file=sys.stderr)
    return 1 if refused or fault else 0


def _fault(counts: Mapping[str, int], wanted: str, without: tuple[str, ...]) -> str:
    """Say that not one image could be used, or that not one has what was wanted; "" if some could.

    Args:
        counts: what the command counted.
        wanted: name of what an image may lack.
        without: how the reasons begin for which it lacks that.
    """
    images = counts.get("images", 0)
    faultless = {*_RESULTS, *_CHOSEN}
    reasons = {name: count for name, count in counts.items() if count and name not in faultless}
    if not images:
        most = max(reasons, key=lambda name: reasons[name], default="the topic has no messages")
        return f"not one image could be used: {most}"
    lacking = {name: count for name, count in reasons.items() if name.startswith(without)}
    if lacking and sum(lacking.values()) >= images:
        most = max(lacking, key=lambda name: lacking[name])
        return f"not one image has {wanted}: {most.removeprefix(_WITHOUT_POSE)}"
    return ""


def _extract(args: argparse.Namespace) -> Mapping[str, int]:
    from ovps_core.ros_io.bags import BagTopics, ExtractOptions, extract

    if args.fixed_frame and not args.info:
        raise UsageError(
            "--fixed-frame needs the camera; name the topic of its camera_info with --info"
        )
    topics = BagTopics(_image_topic(args), args.depth, args.info, args.masks)
    options = ExtractOptions(
        args.every,
        args.min_motion,
        args.slop,
        args.depth_scale,
        not args.ignore_frames,
        args.fixed_frame,
        args.image_geometry,
    )
    manifest = extract(args.bag, topics, args.out, options)
    kept = {name: manifest[name] for name in ("images", "annotations")}
    without = {_WITHOUT_POSE + name: count for name, count in manifest["without_pose"].items()}
    return {**kept, **manifest["dropped"], **without}


def _annotate(
    args: argparse.Namespace,
) -> tuple[Mapping[str, int], tuple[RefusedQuery, ...]]:
    from ovps_core.ros_io.bags import AnnotateOptions, BagTopics, annotate
    from ovps_core.ros_io.depth_frames import DepthOptions

    if bool(args.depth) != bool(args.info):
        raise UsageError("parts in space need both --depth and --info; one of them is missing")
    if args.depth_info and not args.depth:
        raise UsageError("--depth-info describes depth; name the topic of the depth with --depth")
    topics = BagTopics(_image_topic(args), args.depth, args.info, depth_info=args.depth_info)
    segment = SegmentOptions(args.score_threshold, args.mask_threshold)
    depth = DepthOptions(
        args.depth_scale,
        image_geometry=args.image_geometry,
        check_frames=not args.ignore_frames,
    )
    options = AnnotateOptions(segment, slop_s=args.slop, depth=depth)
    segmenter = open_segmenter(args, depth=bool(args.depth))
    queries = segmenter.encode_queries(args.queries)
    for query in queries.refused:  # before the minutes that a recording takes
        print(f"ovps bag: {query.text!r} is not looked for: {query.reason}", file=sys.stderr)
    return annotate(args.bag, topics, args.out, segmenter, queries, options), queries.refused


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
        type=at_least(0, float),
        default=0.02,
        help="maximum difference between the stamps of an image and its depth, seconds",
    )
    parser.add_argument(
        "--depth-scale",
        type=at_least(1e-9, float),
        default=0.001,
        help="metres per unit of 16-bit depth",
    )
    parser.add_argument(
        "--ignore-frames",
        action="store_true",
        help="depth is aligned and camera_info fits, although their frame_id is another one",
    )
    parser.add_argument(
        "--image-geometry",
        choices=("auto", "raw", "rectified"),
        default="auto",
        help="whether the images are rectified (default: auto, by the topic's name)",
    )


def _add_out(parser: argparse.ArgumentParser, description: str) -> None:
    parser.add_argument("--out", type=Path, required=True, help=description)


def _image_topic(args: argparse.Namespace) -> str:
    from ovps_core.ros_io.bags.reading import only_image_topic, open_bag

    if args.image:
        return str(args.image)
    with open_bag(args.bag) as reader:
        return only_image_topic(reader)
