"""``ovps convert SRC DST``: released weights into an OVPS file."""

from __future__ import annotations

import argparse
from pathlib import Path

from ovps_core.checkpoints.hub import fetch, is_hub_name
from ovps_core.cli.output import check_inputs_stay


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``ovps convert``."""
    parser.add_argument(
        "source",
        help="a released PartCLIPSeg, PartCATSeg or CAT-Seg .pth or OpenSeeD .pt, a Hugging Face CLIPSeg "
        "directory or name, or an original decoder .pth",
    )
    parser.add_argument("destination", type=Path, help="the .safetensors file to write")
    parser.add_argument(
        "--vocabulary",
        default="",
        choices=["", "pascal_part_116", "ade20k_part_234", "partimagenet"],
        help="for PartCLIPSeg, PartCATSeg, CAT-Seg: the benchmark the weights were trained on",
    )
    parser.add_argument("--name", default="", help="name of the model; by default the file's name")
    parser.add_argument(
        "--clip",
        default="openai",
        help="for original decoder files: open_clip's tag of the CLIP weights",
    )
    parser.add_argument(
        "--separate-aggregation",
        action="store_true",
        help="for PartCATSeg: refine parts and objects by layers of their own, as the paper describes; the file "
        "does not say how it was trained",
    )


def run(args: argparse.Namespace) -> int:
    """Convert, then print name, size and digest of the file.

    Raises:
        UsageError: the destination is a file of the source.
    """
    from ovps_core.checkpoints.convert import convert

    source = fetch(args.source) if is_hub_name(args.source) else Path(args.source)
    check_inputs_stay([args.destination], source.iterdir() if source.is_dir() else [source])
    info = convert(
        source,
        args.destination,
        vocabulary=args.vocabulary,
        name=args.name,
        clip=args.clip,
        separate_aggregation=args.separate_aggregation,
    )
    size = args.destination.stat().st_size / 1e6
    print(f"{info.model} {info.name}: {size:.0f} MB at {args.destination}, sha256 {info.digest}")
    return 0
