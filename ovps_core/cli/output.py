"""Files that subcommands write, none of them onto what they read."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ovps_core.errors import ImageError, OutputError, UsageError
from ovps_core.structures.image_files import save_image
from ovps_core.structures.masks import PartMasks
from ovps_core.structures.whole_files import without_nan

_SUFFIXES = (".png", ".jpg", ".jpeg")
_WRITTEN = re.compile(r"\d{2,} (.*)", re.DOTALL)


def check_picture_name(output: Path | None) -> None:
    """Check where a picture is to be written, before any work is done.

    Raises:
        UsageError: the name does not end in .png or .jpg.
    """
    if output is not None and output.suffix.lower() not in _SUFFIXES:
        raise UsageError(f"--output {output}: expected a name that ends in .png or .jpg")


def unread_json(name: str, error: ImageError) -> dict[str, str]:
    """Entry of a picture that cannot be read, in place of its answer."""
    return {"image": name, "error": str(error)}


def json_text(content: Any) -> str:
    """Content as JSON that every reader takes: null for a number that is not finite."""
    return json.dumps(without_nan(content), indent=1, allow_nan=False)


def check_inputs_stay(outputs: Iterable[Path | None], inputs: Iterable[Path | None]) -> None:
    """Check that no file to be written is one that is read, also under another path, before any work is done.

    Args:
        outputs: files to write, which need not exist.
        inputs: files to read; others, such as names of models, are no files.

    Raises:
        UsageError: an output is the same file as an input.
    """
    read = {_identity(path): path for path in inputs if path is not None and path.is_file()}
    for output in outputs:
        if output is not None and output.is_file() and _identity(output) in read:
            raise UsageError(
                f"{output} would replace {read[_identity(output)]}, which is read; give the output another name"
            )


def check_pictures_are_no_masks(
    folders: Iterable[Path], pictures: Iterable[Path], texts: Collection[str] | None = None
) -> None:
    """Check that :func:`clear_masks` and :func:`write_masks` leave the pictures that are read.

    Raises:
        UsageError: a picture lies in a folder of masks and is named like one of them.
    """
    check_inputs_stay([mask for each in folders for mask in _written(each, texts)], pictures)


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def clear_masks(folder: Path, texts: Collection[str] | None = None) -> None:
    """Remove the masks that an earlier run wrote with :func:`write_masks`; other files stay.

    Args:
        folder: the folder, which need not exist.
        texts: only the masks of these phrases; None removes those of all.

    Raises:
        OutputError: a file cannot be removed.
    """
    for path in _written(folder, texts):
        try:
            path.unlink()
        except OSError as error:
            raise OutputError(f"{path} cannot be replaced ({error.strerror})") from error


def _written(folder: Path, texts: Collection[str] | None) -> list[Path]:
    """Files in a folder that are named like masks of these phrases, or of any."""
    names = None if texts is None else {_file_name(text) for text in texts}
    stems = [(path, _WRITTEN.fullmatch(path.stem)) for path in folder.glob("*.png")]
    return [path for path, stem in stems if stem and (names is None or stem[1] in names)]


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
