"""``ovps render``: a folder of rendered scenes with exact part masks."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import ovps_core
from ovps_core.cli.options import at_least
from ovps_core.cli.output import check_inputs_stay
from ovps_core.structures.image_files import save_image
from ovps_core.synthetic.reader import RenderedScenes
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
    parser.add_argument("--count", type=at_least(1), default=1024, help="number of scenes")
    parser.add_argument("--out", type=Path, required=True, help="folder to write or continue")
    parser.add_argument("--seed", type=at_least(0), default=0, help="seed of the scenes")
    parser.add_argument(
        "--size", type=at_least(8), default=224, help="side of the square pictures, pixels"
    )
    parser.add_argument("--depth", action="store_true", help="also write depth in metres")
    parser.add_argument(
        "--backgrounds",
        type=Path,
        help="folder of photographs to put behind wild scenes; painted ones are used without it",
    )
    parser.add_argument(
        "--assets", type=Path, help="folder of part-split meshes to add to wild training scenes"
    )
    parser.add_argument(
        "--meshes",
        type=Path,
        metavar="DIR",
        help="folder of further objects: DIR/valve/wheel.stl is the wheel of a valve",
    )
    parser.add_argument(
        "--mesh-units", choices=("m", "mm"), default="m", help="unit of the mesh files"
    )
    parser.add_argument(
        "--objects",
        nargs="+",
        default=[],
        metavar="NAME",
        help="objects to show, such as flashlight axe; all of the level without it",
    )
    parser.add_argument("--workers", type=at_least(1), default=1, help="number of processes")
    parser.add_argument(
        "--coco",
        type=Path,
        metavar="DIR",
        help="also write the pictures and a COCO file of the objects, with boxes and masks, into this folder",
    )
    parser.add_argument(
        "--sheet", type=Path, help="also write a contact sheet (PNG) of the first scenes"
    )


def run(args: argparse.Namespace) -> int:
    """Render the folder, and the contact sheet if one is requested."""
    require_render_extra()
    from ovps_core.synthetic.generate import announce, generate

    settings = RenderSettings(
        level=args.level, split=args.split, count=args.count, seed=args.seed,
        size=args.size, depth=args.depth,
        backgrounds=str(args.backgrounds or ""),
        assets=str(args.assets or ""),
        meshes=str(args.meshes or ""), mesh_units=args.mesh_units,
        objects=tuple(args.objects),
    )  # fmt: skip
    check_inputs_stay([args.sheet], args.backgrounds.glob("*") if args.backgrounds else ())
    _warn_of_another_checkout()
    print(announce({args.out: settings}, args.workers), file=sys.stderr)
    folder = generate(args.out, settings, workers=args.workers)
    print(f"{settings.count} scenes in {folder}")
    if args.coco is not None:
        from ovps_core.datasets.rendered_objects import write_coco

        print(f"objects in {write_coco(RenderedScenes(folder), args.coco)}")
    if args.sheet is not None:
        from ovps_core.synthetic.contact_sheet import contact_sheet

        scenes = RenderedScenes(folder)
        first = [scenes[i] for i in range(min(24, len(scenes)))]
        sheet = contact_sheet(first, scenes.object_parts)
        save_image(args.sheet, sheet)
        print(f"contact sheet in {args.sheet}")
    return 0


def _warn_of_another_checkout() -> None:
    """Say so if the objects in the current folder's source code are not those that are rendered."""
    running, here = Path(ovps_core.__file__).resolve().parent, Path.cwd() / "ovps_core"
    if (here / "__init__.py").is_file() and here.resolve() != running:
        print(
            f"ovps render: this is the installed copy, {running}, not the one in this folder; "
            "`python -m ovps_core render` renders with the latter",
            file=sys.stderr,
        )
