"""Render scenes, train on them, and pack calibrated weights: ``python -m training.compact.build_release OUT``.

Each step continues where it was interrupted: run the same command again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ovps_core.cli import HelpFormatter
from ovps_core.errors import OvpsError
from ovps_core.synthetic.catalogue import table_objects
from ovps_core.synthetic.generate import announce, generate
from ovps_core.synthetic.scan_scenes import ScanSettings, generate_scan_scenes
from ovps_core.synthetic.settings import RenderSettings
from training.compact.calibrate import load_compact_recipe, load_trained, write_calibrated
from training.compact.recipe import CompactRecipe
from training.run import LAST, DataSources
from training.train_model import train_model


@dataclass(frozen=True)
class ReleaseSettings:
    """Numbers and folders of a release.

    Attributes:
        scenes: training scenes of parametric objects per level.
        scan_scenes: training scenes with scanned objects, if ``scans`` is given.
        calibration_pictures: validation pictures per folder that set the thresholds.
        backgrounds: folder of photographs to put behind half of the wild scenes; empty for none.
        assets: folder of part-split meshes for half of the wild scenes; empty for none.
        scans: folder of scans; see :func:`ovps_core.synthetic.scans.find_scans`.
        surfaces: folder of textures behind scans.
        photos: folder of photographs of unknown content behind scans.
        photographs: folders of labelled photographs to train on.
        val_photographs: folders of labelled photographs that join the calibration.
        workers: processes that render.
    """

    scenes: int = 10_240
    scan_scenes: int = 8_192
    calibration_pictures: int = 256
    backgrounds: str = ""
    assets: str = ""
    scans: str = ""
    surfaces: str = ""
    photos: str = ""
    photographs: tuple[Path, ...] = ()
    val_photographs: tuple[Path, ...] = ()
    workers: int = 2


def scene_folders(
    settings: ReleaseSettings,
) -> tuple[dict[str, RenderSettings], dict[str, RenderSettings]]:
    """(training, validation) folders of parametric objects by name: as many tabletop scenes as wild ones.

    Half of the tabletop scenes show all objects that fit on a table. If an object were only in wild scenes, the
    network would learn that it is not on plain tables. With backgrounds or assets, half of the wild training
    scenes have them.
    """
    tabletop = RenderSettings(count=settings.scenes // 2, seed=1)
    all_objects = replace(tabletop, objects=table_objects(), seed=7)
    wild = RenderSettings(level="wild", count=settings.scenes, seed=1)
    train_folders = {"tabletop": tabletop, "tabletop-all": all_objects, "wild": wild}
    if settings.backgrounds or settings.assets:
        half = replace(wild, count=settings.scenes // 2)
        train_folders["wild"] = replace(half, seed=4)
        train_folders["wild-photographed"] = replace(
            half, backgrounds=settings.backgrounds, assets=settings.assets
        )
    val = RenderSettings(split="val", count=max(64, settings.scenes // 20), seed=2)
    return train_folders, {
        "val-tabletop": val,
        "val-tabletop-all": replace(val, objects=table_objects()),
        "val-wild": replace(val, level="wild"),
    }


def scan_folders(settings: ReleaseSettings) -> dict[str, ScanSettings]:
    """Folders of scenes with scans by name, training first; none without scans."""
    if not settings.scans:
        return {}
    train_scans = ScanSettings(
        settings.scans,
        count=settings.scan_scenes,
        seed=5,
        surfaces=settings.surfaces,
        photos=settings.photos,
    )
    count = max(64, settings.scan_scenes // 20)
    return {
        "scans": train_scans,
        "val-scans": replace(train_scans, split="val", count=count, seed=6),
    }


def build_release(
    out: Path, recipe: CompactRecipe, settings: ReleaseSettings, *, name: str = ""
) -> Path:
    """Render scenes, train, calibrate and pack; steps that are done already are skipped.

    Args:
        out: folder for scenes, the run's checkpoints and the weights.
        recipe: every number of the training.
        settings: every number of the rendering and the calibration.
        name: name of the model; by default that of its file.

    Returns:
        The weights file.

    Raises:
        OutputError: the disk has no room for the scenes.
        CheckpointError: the trained network finds nothing, so it is not packed.
    """
    train_folders, val_folders = scene_folders(settings)
    scans = scan_folders(settings)
    scenes, run = out / "scenes", out / "run"
    folders = {scenes / key: render for key, render in {**train_folders, **val_folders}.items()}
    print(f"{announce(folders, settings.workers)}, then {recipe.optim.minutes:g} min of training")
    for folder, render in folders.items():
        generate(folder, render, workers=settings.workers)
    for key, render_scans in scans.items():
        generate_scan_scenes(scenes / key, render_scans, settings.workers)
    trained = [scenes / key for key in (*train_folders, *list(scans)[:1])]
    validated = [scenes / key for key in (*val_folders, *list(scans)[1:])]
    sources = DataSources((*trained, *settings.photographs), validated[-1])
    train_model(recipe, sources, run, resume=(run / LAST).exists())
    weights = out / "tiny.safetensors"
    source = "rendered scenes and photographs" if settings.photographs else "rendered scenes"
    loaded = load_trained(run / LAST, recipe, name=name or weights.stem, source=source)
    validated += settings.val_photographs
    write_calibrated(loaded, weights, validated, pictures=settings.calibration_pictures)
    return weights


def _parser() -> argparse.ArgumentParser:
    defaults = ReleaseSettings()
    parser = argparse.ArgumentParser(
        description="Render scenes, train a compact model on them, and pack calibrated weights.",
        formatter_class=HelpFormatter,
    )
    parser.add_argument("out", type=Path, help="folder for scenes, checkpoints and weights")
    parser.add_argument("--name", default="", help="name of the model; by default that of its file")
    parser.add_argument("--minutes", type=float, default=100.0, help="time to train")
    numbers = {
        "scenes": "training scenes of parametric objects per level",
        "scan-scenes": "training scenes with scans",
        "calibration-pictures": "validation pictures per folder that set the thresholds",
        "workers": "processes that render",
    }
    folders = {
        "backgrounds": "photographs to put behind wild scenes",
        "assets": "part-split meshes for wild scenes",
        "scans": "textured scans with part labels (docs/rendered_scenes.md)",
        "surfaces": "textures without objects behind scans",
        "photos": "photographs of any content behind scans",
    }
    for name, text in numbers.items():
        default = getattr(defaults, name.replace("-", "_"))
        parser.add_argument(f"--{name}", type=int, default=default, help=text)
    for name, text in folders.items():
        parser.add_argument(f"--{name}", default="", help=f"folder of {text}")
    for name, text in (("photographs", "train on"), ("val-photographs", "calibrate on")):
        parser.add_argument(
            f"--{name}",
            type=Path,
            nargs="+",
            default=[],
            help=f"folders of labelled photographs to {text}",
        )
    parser.add_argument(
        "--config", default="ovps-tiny", metavar="RECIPE", help="a YAML file, or a recipe's name"
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; an error that a person can act on is one line on stderr."""
    values = vars(_parser().parse_args(arguments))
    out, config, minutes, model_name = (
        values.pop(name) for name in ("out", "config", "minutes", "name")
    )
    try:
        recipe = load_compact_recipe(config)
        recipe = replace(recipe, optim=replace(recipe.optim, minutes=minutes))
        for name in ("photographs", "val_photographs"):
            values[name] = tuple(values[name])
        build_release(out, recipe, ReleaseSettings(**values), name=model_name)
    except OvpsError as error:
        print(f"build_release: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
