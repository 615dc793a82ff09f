"""Render scenes, train on them, and pack calibrated weights: ``python -m training.compact.build_release OUT``.

Each step continues where it was interrupted: run the same command again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ovps_core.errors import OvpsError
from ovps_core.synthetic.generate import generate
from ovps_core.synthetic.settings import RenderSettings
from training.compact.calibrate import load_compact_recipe, write_calibrated
from training.compact.recipe import CompactRecipe
from training.run import DataSources
from training.train import LAST, train


@dataclass(frozen=True)
class ReleaseSettings:
    """Numbers and folders of a release.

    Attributes:
        scenes: training scenes per level.
        calibration_scenes: validation scenes per level that set the thresholds.
        backgrounds: folder of photographs to put behind half of the wild scenes; empty for none.
        assets: folder of part-split meshes for half of the wild scenes; empty for none.
        workers: processes that render.
    """

    scenes: int = 10_240
    calibration_scenes: int = 256
    backgrounds: str = ""
    assets: str = ""
    workers: int = 2


def scene_folders(
    settings: ReleaseSettings,
) -> tuple[dict[str, RenderSettings], dict[str, RenderSettings]]:
    """(training, validation) folders by name: as many tabletop scenes as wild ones.

    With backgrounds or assets, half of the wild training scenes have them.
    """
    tabletop = RenderSettings(count=settings.scenes, seed=1)
    wild = replace(tabletop, level="wild")
    train_folders = {"tabletop": tabletop, "wild": wild}
    if settings.backgrounds or settings.assets:
        half = replace(wild, count=settings.scenes // 2)
        train_folders["wild"] = replace(half, seed=4)
        train_folders["wild-photographed"] = replace(
            half, backgrounds=settings.backgrounds, assets=settings.assets
        )
    val = RenderSettings(split="val", count=max(64, settings.scenes // 20), seed=2)
    return train_folders, {"val-tabletop": val, "val-wild": replace(val, level="wild")}


def build_release(out: Path, recipe: CompactRecipe, settings: ReleaseSettings) -> Path:
    """Render scenes, train, calibrate and pack; steps that are done already are skipped.

    Args:
        out: folder for scenes, the run's checkpoints and the weights.
        recipe: every number of the training.
        settings: every number of the rendering and the calibration.

    Returns:
        The weights file.
    """
    train_folders, val_folders = scene_folders(settings)
    scenes, run = out / "scenes", out / "run"
    for name, render in {**train_folders, **val_folders}.items():
        generate(scenes / name, render, workers=settings.workers)
    sources = DataSources(
        tuple(scenes / name for name in train_folders), scenes / next(iter(val_folders))
    )
    train(recipe, sources, run, resume=(run / LAST).exists())
    weights = out / "tiny.safetensors"
    write_calibrated(
        run / LAST,
        weights,
        [scenes / name for name in val_folders],
        recipe,
        scenes=settings.calibration_scenes,
    )
    return weights


def _parser() -> argparse.ArgumentParser:
    defaults = ReleaseSettings()
    parser = argparse.ArgumentParser(
        description="Render scenes, train a compact model on them, and pack calibrated weights.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("out", type=Path, help="folder for scenes, checkpoints and weights")
    parser.add_argument(
        "--scenes", type=int, default=defaults.scenes, help="training scenes per level"
    )
    parser.add_argument("--minutes", type=float, default=100.0, help="time to train")
    parser.add_argument(
        "--calibrate-on",
        type=int,
        default=defaults.calibration_scenes,
        help="validation scenes per level that set the thresholds",
    )
    parser.add_argument(
        "--backgrounds",
        default=defaults.backgrounds,
        help="folder of photographs to put behind wild scenes",
    )
    parser.add_argument(
        "--assets", default=defaults.assets, help="folder of part-split meshes for wild scenes"
    )
    parser.add_argument(
        "--workers", type=int, default=defaults.workers, help="processes that render"
    )
    parser.add_argument(
        "--config", default="ovps-tiny", metavar="RECIPE", help="a YAML file, or a recipe's name"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; an error that a person can act on is one line on stderr."""
    args = _parser().parse_args(arguments)
    try:
        recipe = load_compact_recipe(args.config)
        recipe = replace(recipe, optim=replace(recipe.optim, minutes=args.minutes))
        settings = ReleaseSettings(
            scenes=args.scenes,
            calibration_scenes=args.calibrate_on,
            backgrounds=args.backgrounds,
            assets=args.assets,
            workers=args.workers,
        )
        build_release(args.out, recipe, settings)
    except OvpsError as error:
        print(f"build_release: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
