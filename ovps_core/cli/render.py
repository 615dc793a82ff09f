"""``ovps render``: a folder of rendered scenes with exact part masks."""

from __future__ import annotations

import argparse
from pathlib import Path

from ovps_core.synthetic.settings import (
    LEVELS,
    SPLITS,
    RenderSettings,
    require_render_extra,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``ovps render``."""
    parser.add_argument("--level", choices=LEVELS, default="tabletop", help="kind of scenes")
    parser.add_argument(
        "--split", choices=SPLITS, default="train", help="which shapes and seeds to use"
    )
    parser.add_argument("--count", type=int, default=1024, help="number of scenes")
    parser.add_argument("--out", type=Path, required=True, help="folder to write or continue")
    parser.add_argument("--seed", type=int, default=0, help="seed of the scenes")
    parser.add_argument("--size", type=int, default=224, help="side of the square pictures, pixels")
    parser.add_argument("--depth", action="store_true", help="also write depth in metres")
    parser.add_argument(
        "--backgrounds",
        type=Path,
        help="folder of photographs to put behind wild scenes; painted ones are used without it",
    )
    parser.add_argument(
        "--assets", type=Path, help="folder of part-split meshes to add to wild training scenes"
    )
    parser.add_argument("--workers", type=int, default=1, help="number of processes")
    parser.add_argument(
        "--sheet", type=Path, help="also write a contact sheet (PNG) of the first scenes"
    )


def run(args: argparse.Namespace) -> int:
    """Render the folder, and the contact sheet if one is requested."""
    require_render_extra()
    from ovps_core.synthetic.generate import generate

    settings = RenderSettings(
        level=args.level, split=args.split, count=args.count, seed=args.seed,
        size=args.size, depth=args.depth,
        backgrounds=str(args.backgrounds or ""),
        assets=str(args.assets or ""),
    )  # fmt: skip
    folder = generate(args.out, settings, workers=args.workers)
    print(f"{settings.count} scenes in {folder}")
    if args.sheet is not None:
        import cv2

        from ovps_core.synthetic.contact_sheet import contact_sheet
        from ovps_core.synthetic.reader import RenderedScenes

        scenes = RenderedScenes(folder)
        sheet = contact_sheet([scenes[i] for i in range(min(24, len(scenes)))])
        args.sheet.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(args.sheet), sheet[..., ::-1])
        print(f"contact sheet in {args.sheet}")
    return 0
