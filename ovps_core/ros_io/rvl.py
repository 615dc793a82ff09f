"""RVL, the lossless code for depth images of Wilson, "Fast Lossless Depth Image Compression", ISS 2017.

The pixels are runs of zeros and runs of others. The code of a run is its length; for the others the differences of
neighbours follow, with the sign in the lowest bit. A number is written three bits at a time, lowest first, each
with a fourth bit that says whether more follow. These nibbles fill words of 32 bits from the top.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ovps_core.errors import ImageError

_SIZE_HEADER = 8  # bytes: columns and rows, as compressed_depth_image_transport writes them
_MAX_NIBBLES = 10  # of a number of 30 bits; no image has a longer run


def decode_rvl(data: bytes, max_pixels: int) -> NDArray[np.uint16]:
    """Decode an image, with its size before the code.

    Args:
        data: columns and rows as 32-bit numbers, then the code.
        max_pixels: pixels of the largest image that is accepted.

    Returns:
        uint16 [rows, columns].

    Raises:
        ImageError: the data is damaged, or the image is larger than ``max_pixels``.
    """
    if len(data) < _SIZE_HEADER:
        raise ImageError(f"{len(data)} bytes of RVL; expected at least {_SIZE_HEADER}")
    columns, rows = (int(value) for value in np.frombuffer(data, "<u4", 2))
    if not 0 < columns * rows <= max_pixels:
        raise ImageError(f"RVL of {columns}x{rows} pixels; expected 1 to {max_pixels}")
    numbers = _numbers(data[_SIZE_HEADER:])
    pixels = np.zeros(columns * rows, np.uint16)
    filled, read = 0, 0
    places: list[NDArray[np.int64]] = []
    codes: list[NDArray[np.int64]] = []
    while filled < len(pixels):
        if read + 2 > len(numbers):
            raise ImageError(f"RVL ends after {filled} of {columns}x{rows} pixels")
        zeros, others = int(numbers[read]), int(numbers[read + 1])
        read += 2
        filled += zeros
        if zeros + others == 0 or filled + others > len(pixels) or read + others > len(numbers):
            raise ImageError(f"RVL with a run that does not fit {columns}x{rows} pixels")
        places.append(np.arange(filled, filled + others))
        codes.append(numbers[read : read + others])
        filled, read = filled + others, read + others
    code = np.concatenate(codes)
    steps = (code >> 1) ^ -(code & 1)
    pixels[np.concatenate(places)] = (np.cumsum(steps) & 0xFFFF).astype(np.uint16)
    return pixels.reshape(rows, columns)


def _numbers(code: bytes) -> NDArray[np.int64]:
    """All numbers of a code, int64; the fill of the last word gives some zeros more."""
    words = np.frombuffer(code[: len(code) // 4 * 4], "<u4")
    shifts = np.arange(28, -1, -4, dtype=np.uint32)
    nibbles = ((words[:, None] >> shifts) & 0xF).ravel().astype(np.int64)
    ends = np.flatnonzero(nibbles < 8)
    if not len(ends):
        return np.zeros(0, np.int64)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _MAX_NIBBLES:
        raise ImageError("RVL with a number of more than 30 bits")
    nibbles = nibbles[: ends[-1] + 1]
    places = np.arange(len(nibbles)) - np.repeat(starts, lengths)
    return np.asarray(np.add.reduceat((nibbles & 7) << (3 * places), starts), np.int64)
