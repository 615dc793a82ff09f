"""Image files: one reader and one writer of pictures and label maps, for every program."""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ovps_core.errors import ImageError, OutputError
from ovps_core.structures.whole_files import write_whole

MAX_PIXELS = 2**30
"""Pictures with more pixels are refused; OpenCV has the same limit."""
_TURN = 0x0112  # EXIF tag "Orientation"
_SIDEWAYS = range(5, 9)  # its values that exchange height and width
_PILLOW_LIMIT = threading.Lock()


def load_image(source: str | Path | bytes) -> NDArray[np.uint8]:
    """Read a picture as RGB uint8 [H, W, 3], turned as its EXIF orientation says.

    16-bit values are divided by 256, palettes and CMYK are converted, and an alpha channel is dropped. Of
    several frames the first is read.

    Args:
        source: the file, or its content.

    Raises:
        ImageError: no such file, not an image, cut off, or larger than :data:`MAX_PIXELS`.
    """
    with _opened(source) as picture:
        turn = _turn(picture)
        return np.array(_upright(np.asarray(_rgb(picture)), turn))


def image_size(source: str | Path | bytes) -> tuple[int, int]:
    """Height and width of a picture as :func:`load_image` returns it; of a TIFF all is read, else the header.

    Raises:
        ImageError: no such file, not an image, or larger than :data:`MAX_PIXELS`.
    """
    with _opened(source) as picture:
        if _turn(picture) in _SIDEWAYS:
            return picture.width, picture.height
        return picture.height, picture.width


def is_stored_sideways(source: str | Path) -> bool:
    """Return whether the EXIF turn of a picture exchanges its height and width.

    Raises:
        ImageError: see :func:`image_size`.
    """
    with _opened(source) as picture:
        return _turn(picture) in _SIDEWAYS


def is_upright(source: str | Path | bytes) -> bool:
    """Return whether readers take the pixels of a picture as they are stored; not if they cannot read it."""
    try:
        with _opened(source) as picture:
            return _turn(picture) == 1
    except ImageError:
        return False


def load_labels(source: str | Path) -> NDArray[np.int32]:
    """Read the raw values of a label map, int32 [H, W]: a grey or palette PNG of 1, 8 or 16 bits.

    Raises:
        ImageError: no such file, damaged, or it has colour channels.
    """
    with _opened(source) as picture:
        turn = _turn(picture)
        labels = _upright(np.asarray(picture), turn)
        if labels.ndim != 2 or not (labels.dtype == bool or labels.dtype.kind in "iu"):
            raise ValueError(
                f"its pixels are of mode {picture.mode}; a label map has one channel of whole numbers"
            )
        return labels.astype(np.int32)


def save_image(path: Path, image: NDArray[np.uint8] | NDArray[np.uint16]) -> None:
    """Write RGB uint8 [H, W, 3] or grey [H, W] in the format of the file's suffix, all or nothing.

    Raises:
        OutputError: the file cannot be written, or OpenCV has no such format.
    """
    try:
        content = encode_image(image, path.suffix)
    except OutputError as error:
        raise OutputError(f"cannot write {path}: {error}") from error
    write_whole(path, content)


def encode_image(image: NDArray[np.uint8] | NDArray[np.uint16], suffix: str) -> bytes:
    """Encode RGB uint8 [H, W, 3] or grey [H, W] as the content of a file.

    Args:
        image: the pixels; grey ones may have 16 bits in a PNG.
        suffix: format as the end of a file name: ".png", ".jpg".

    Raises:
        OutputError: OpenCV has no such format, or the format cannot hold the pixels.
    """
    pixels = image[..., ::-1] if image.ndim == 3 else image
    try:
        encoded, content = cv2.imencode(suffix, pixels)
    except cv2.error:
        encoded = False
    if not encoded:
        raise OutputError(
            f"pixels {image.dtype} {list(image.shape)} do not fit a picture of format {suffix!r}; expected RGB or "
            "grey, and a format such as .png or .jpg"
        )
    return content.tobytes()


@contextlib.contextmanager
def _opened(source: str | Path | bytes) -> Iterator[Image.Image]:
    """The picture, not yet decoded. Everything that goes wrong with it in the block is an ImageError."""
    name = "a picture in memory" if isinstance(source, bytes) else str(source)
    if not isinstance(source, bytes) and not os.path.isfile(source):
        raise ImageError(f"no image at {name}")
    try:
        with _open(io.BytesIO(source) if isinstance(source, bytes) else source) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise ValueError(
                    f"{picture.width}x{picture.height} pixels; expected at most {MAX_PIXELS}"
                )
            yield picture
    except UnidentifiedImageError:
        raise ImageError(
            f"{name} cannot be read as an image; expected JPEG, PNG or another format of Pillow"
        ) from None
    except MemoryError as error:
        raise ImageError(f"{name} does not fit into memory") from error
    except Exception as error:  # decoders raise a dozen unrelated kinds for damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ImageError(f"{name} cannot be read as an image: {reason}") from error


def _open(source: str | Path | io.BytesIO) -> Image.Image:
    """Open a picture of up to :data:`MAX_PIXELS`. Pillow's own limit is below the size of phone photographs."""
    with _PILLOW_LIMIT:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(source)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _turn(picture: Image.Image) -> int:
    """The EXIF orientation, 1 to 8, that is still to be applied."""
    if picture.format == "TIFF":  # Pillow turns these itself when it decodes them
        picture.load()
        return 1
    if picture.format == "PNG" and "exif" not in picture.info:
        return 1  # looking further would decode all pixels
    return int(picture.getexif().get(_TURN, 1))


def _upright(pixels: NDArray[Any], turn: int) -> NDArray[Any]:
    """Pixels [H, W, ...] after an EXIF orientation."""
    if turn in (2, 3):
        pixels = pixels[:, ::-1]
    if turn in (3, 4):
        pixels = pixels[::-1]
    if turn in (5, 7):
        pixels = pixels.swapaxes(0, 1)
    if turn == 7:
        pixels = pixels[::-1, ::-1]
    return np.rot90(pixels, {6: -1, 8: 1}.get(turn, 0))


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode == "F":
        raise ValueError("its pixels are floating-point numbers; expected 8 or 16 bits")
    if not picture.mode.startswith("I"):
        return picture.convert("RGB")
    grey = np.asarray(picture).astype(np.int64)
    if grey.size and (grey.min() < 0 or grey.max() > 65535):
        raise ValueError("its pixels have more than 16 bits; expected 8 or 16")
    return Image.fromarray((grey >> 8).astype(np.uint8)).convert("RGB")
