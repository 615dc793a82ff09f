"""Pictures that subcommands write."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

import numpy as np

from ovps_core.errors import OutputError, UsageError
from ovps_core.structures.image_files import save_image
from ovps_core.structures.masks import PartMasks

_SUFFIXES = (".png", ".jpg", ".jpeg")
_WRITTEN = re.compile(r"\d{2,} (.*)", re.DOTALL)


def check_picture_name(output: Path | None) -> None:
    """Check where a picture is to be written, before any work is done.

    Raises:
        UsageError: the name does not end in .png or .jpg.
    """
    if output is not None and output.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"--output {output}: expected a name that ends in .png or .jpg")


def clear_masks(folder: Path, texts: Collection[str] | None = None) -> None:
    """Remove the masks that an earlier run wrote with :func:`write_masks`; other files stay.

    Args:
        folder: the folder, which need not exist.
        texts: only the masks of these phrases; None removes those of all.

    Raises:
        OutputError: a file cannot be removed.
    """
    names = None if texts is None else {_file_name(text) for text in texts}
    for path in folder.glob("*.png"):
        written = _WRITTEN.fullmatch(path.stem)
        if written and (names is None or written[1] in names):
            try:
                path.unlink()
            except OSError as error:
                raise OutputError(f"{path} cannot be replaced ({error.strerror})") from error


def write_masks(folder: Path, masks: PartMasks) -> None:
    """Write one PNG per part, 255 on the part, named by its id and query: "01 knife handle.png".

    Raises:
        OutputError: a file cannot be written.
    """
    for part in masks.parts:
        name = f"{part.id:02d} {_file_name(part.query.text)}"
        pixels = part.full(masks.height, masks.width).astype(np.uint8) * 255
        save_image(folder / f"{name}.png", pixels)


def _file_name(text: str) -> str:
    return text.replace("/", " ")
