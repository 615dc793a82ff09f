"""From nothing to packaged weights: ``python -m training.compact.build_release OUT`` renders, trains and packs.

Each step goes on where it was interrupted: run the same command again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ovps_core.synthetic.generate import generate
from ovps_core.synthetic.settings import RenderSettings
from training.compact import calibrate as pack_tiny
from training.compact import module as tiny


def scene_folders(
    count: int, backgrounds: str, assets: str
) -> tuple[dict[str, RenderSettings], dict[str, RenderSettings]]:
    """(training, validation) folders by name: ``count`` tabletop scenes and as many wild ones.

    With photographs behind or meshes to add, half of the wild scenes have them.
    """
    tabletop = RenderSettings(count=count, seed=1)
    wild = replace(tabletop, level="wild")
    train = {"tabletop": tabletop, "wild": wild}
    if backgrounds or assets:
        half = replace(wild, count=count // 2)
        photographed = replace(half, backgrounds=backgrounds, assets=assets)
        train |= {"wild": replace(half, seed=4), "wild-photographed": photographed}
    val = RenderSettings(split="val", count=max(64, count // 20), seed=2)
    return train, {"val-tabletop": val, "val-wild": replace(val, level="wild")}


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line and do what is left to do."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("out", type=Path, help="folder for scenes, checkpoints and weights")
    parser.add_argument("--scenes", type=int, default=10_240, help="training scenes a level")
    parser.add_argument("--minutes", type=float, default=100.0, help="time to train")
    parser.add_argument(
        "--calibrate-on",
        type=int,
        default=256,
        help="validation scenes a level that set the threshold",
    )
    parser.add_argument("--backgrounds", default="", help="folder of photos for behind wild scenes")
    parser.add_argument("--assets", default="", help="folder of part-split meshes for wild scenes")
    parser.add_argument("--workers", type=int, default=2, help="processes that render")
    parser.add_argument(
        "--config", default="training/config/compact/ovps-tiny.yaml", help="the recipe"
    )
    args = parser.parse_args(argv)
    train, val = scene_folders(args.scenes, args.backgrounds, args.assets)
    for name, settings in {**train, **val}.items():
        generate(args.out / "scenes" / name, settings, workers=args.workers)
    scenes, run = args.out / "scenes", args.out / "run"
    tiny.main(
        ["--data", *(str(scenes / name) for name in train), "--val", str(scenes / "val-tabletop")]
        + ["--out", str(run), "--config", args.config, "--minutes", str(args.minutes)]
        + (["--resume"] if (run / "last.ckpt").exists() else [])
    )
    pack_tiny.main(
        [str(run / "last.ckpt"), str(args.out / "tiny.safetensors"), "--config", args.config]
        + ["--scenes", str(args.calibrate_on), "--val", *(str(scenes / name) for name in val)]
    )


if __name__ == "__main__":
    main()
