"""Command ``python -m ovps_core.synthetic.path_traced``: render a folder of path-traced scenes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from ovps_core.errors import OvpsError
from ovps_core.synthetic.path_traced.generate import generate
from ovps_core.synthetic.path_traced.settings import PathTraceSettings
from ovps_core.synthetic.settings import SPLITS


def build_parser() -> argparse.ArgumentParser:
    """Build the parser of the command's options."""
    parser = argparse.ArgumentParser(
        prog="python -m ovps_core.synthetic.path_traced",
        description="Render a folder of path-traced scenes with Blender's Cycles.",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write or continue")
    parser.add_argument(
        "--split", choices=SPLITS, default="train", help="shapes, scans, pictures and seeds"
    )
    parser.add_argument("--count", type=int, default=1024, help="number of scenes")
    parser.add_argument("--seed", type=int, default=0, help="of all random numbers")
    parser.add_argument("--size", type=int, default=256, help="side of the square pictures, pixels")
    parser.add_argument("--samples", type=int, default=8, help="light paths per pixel")
    parser.add_argument("--scans", type=Path, help="folder of part-labelled textured scans")
    parser.add_argument("--textures", type=Path, help="folder of pictures of tables, walls, floors")
    parser.add_argument("--photos", type=Path, help="folder of indoor photos, blurred into light")
    parser.add_argument("--threads", type=int, default=1, help="threads of Cycles")
    parser.add_argument("--sheet", type=Path, help="also write a contact sheet (PNG)")
    return parser


def run(args: argparse.Namespace) -> None:
    """Render the folder, then write the contact sheet if one is requested.

    Raises:
        OvpsError: a package is missing, or a folder or a setting cannot be used.
    """
    settings = PathTraceSettings(
        split=args.split,
        seed=args.seed,
        size=args.size,
        samples=args.samples,
        scans=str(args.scans or ""),
        textures=str(args.textures or ""),
        photos=str(args.photos or ""),
    )
    folder = generate(args.out, settings, args.count, args.threads)
    print(f"{args.count} scenes in {folder}")
    if args.sheet is not None:
        write_sheet(folder, args.sheet)


def write_sheet(folder: Path, path: Path) -> None:
    """Write a contact sheet of the first 24 scenes of a folder."""
    from ovps_core.structures.image_files import save_image
    from ovps_core.synthetic.contact_sheet import contact_sheet
    from ovps_core.synthetic.reader import RenderedScenes

    scenes = RenderedScenes(folder)
    shown = [scenes[i] for i in range(min(24, len(scenes)))]
    save_image(path, contact_sheet(shown, scenes.object_parts))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; print an error as one line on stderr and return 1."""
    args = build_parser().parse_args(arguments)
    try:
        run(args)
    except OvpsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
