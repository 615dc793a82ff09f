"""Pictures that subcommands write."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ovps_core.errors import UsageError
from ovps_core.structures.image_files import save_image
from ovps_core.structures.masks import PartMasks

_SUFFIXES = (".png", ".jpg", ".jpeg")


def check_picture_name(output: Path | None) -> None:
    """Check where a picture is to be written, before any work is done.

    Raises:
        UsageError: the name does not end in .png or .jpg.
    """
    if output is not None and output.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"--output {output}: expected a name that ends in .png or .jpg")


def write_masks(folder: Path, masks: PartMasks) -> None:
    """Write one PNG per part, 255 on the part, named by its id and query: "01 knife handle.png".

    Raises:
        OutputError: a file cannot be written.
    """
    for part in masks.parts:
        name = f"{part.id:02d} {part.query.text}".replace("/", " ")
        pixels = part.full(masks.height, masks.width).astype(np.uint8) * 255
        save_image(folder / f"{name}.png", pixels)
