"""COCO segmentations, polygons and run lengths: checked, decoded and encoded."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from ovps_core.errors import DatasetError

_POLYGONS = "expected a list of polygons, [[x1, y1, x2, y2, x3, y3, ...], ...]"
_OVERHANG = 0.1  # share of a side by which tools let polygons stand out of the picture
_LARGEST = 1e9  # above every coordinate; infinite and undefined numbers fail the comparison with it
_MAX_DIGITS = 7  # of a packed run length: 35 bits


def segmentation_fault(segmentation: Any, height: int, width: int) -> str:
    """Say what is wrong with a segmentation of a picture; "" if nothing is.

    Args:
        segmentation: value of the key ``segmentation`` of an annotation.
        height: of the picture, pixels.
        width: of the picture, pixels.
    """
    if not segmentation:
        return "its segmentation is empty"
    if isinstance(segmentation, list):
        return _polygons_fault(segmentation, height, width)
    if isinstance(segmentation, dict):
        return _run_lengths_fault(segmentation, height, width)
    return f"its segmentation is a {type(segmentation).__name__}; {_POLYGONS}, or run lengths"


def empty_polygons_fault(polygons: list[Any], height: int, width: int) -> str:
    """Say why polygons without a :func:`segmentation_fault` mark no pixel of a picture; "" if they mark some."""
    if any(_is_clearly_seen(polygon, height, width) for polygon in polygons):
        return ""
    if max(abs(value) for polygon in polygons for value in polygon) <= 1 < max(height, width):
        return f"no coordinate of its segmentation is above 1; are they normalised? {_POLYGONS} in pixels"
    runs = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
    return "" if coco_mask.area(runs) else "the polygons of its segmentation mark no pixel"


def _is_clearly_seen(polygon: list[float], height: int, width: int) -> bool:
    """Return True for a polygon within the picture that is too large to lie between pixels."""
    x, y = np.array(polygon[::2], float), np.array(polygon[1::2], float)
    within = min(x.min(), y.min()) >= 0 and x.max() <= width and y.max() <= height
    area = abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2
    return bool(within and area > x.max() - x.min() + y.max() - y.min() + 4)


def decode_segmentation(
    segmentation: Any, height: int, width: int, source: str
) -> NDArray[np.bool_]:
    """Decode a COCO ``segmentation`` to a mask bool [height, width].

    Args:
        segmentation: polygons, or run lengths, packed or not; an empty one gives no pixel.
        height: of the image, pixels.
        width: of the image, pixels.
        source: file and annotation, for the message.

    Raises:
        DatasetError: the segmentation has another form, or another size than the image.
    """
    if not segmentation:
        return np.zeros((height, width), dtype=bool)
    fault = segmentation_fault(segmentation, height, width)
    if fault:
        raise DatasetError(f"{source}: {fault}.")
    if isinstance(segmentation, list):
        runs = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
        return np.asarray(coco_mask.decode(runs).astype(bool))
    lengths = _run_lengths(segmentation["counts"])
    inside = np.arange(len(lengths)) % 2 == 1  # the first run is outside, and so on in turn
    return np.ascontiguousarray(np.repeat(inside, lengths).reshape(width, height).T)


def encode_segmentation(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """Encode a mask bool [H, W] as COCO run lengths, ready for JSON."""
    packed = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": list(mask.shape), "counts": packed["counts"].decode()}


def _polygons_fault(polygons: list[Any], height: int, width: int) -> str:
    if _are_numbers(polygons):
        return f"its segmentation is a flat list of numbers; {_POLYGONS}"
    if len(polygons) >= 3 and all(_are_numbers(pair) and len(pair) == 2 for pair in polygons):
        return f"its segmentation is a list of points; {_POLYGONS}"
    for number, polygon in enumerate(polygons, start=1):
        fault = _polygon_fault(polygon, height, width)
        if fault:
            return f"polygon {number} of its segmentation {fault}"
    return ""


def _polygon_fault(polygon: Any, height: int, width: int) -> str:
    if not _are_numbers(polygon):
        return f"holds other things than finite numbers; {_POLYGONS}"
    if len(polygon) % 2:
        return f"has an odd count of numbers, {len(polygon)}; {_POLYGONS}"
    if len(polygon) < 6:
        return f"has {len(polygon) // 2} of the 3 points that a polygon needs at least"
    for values, side in ((polygon[::2], width), (polygon[1::2], height)):
        if min(values) < -_OVERHANG * side or max(values) > (1 + _OVERHANG) * side:
            return (
                f"reaches from ({min(polygon[::2]):g}, {min(polygon[1::2]):g}) to "
                f"({max(polygon[::2]):g}, {max(polygon[1::2]):g}), outside of the picture of "
                f"{width}x{height} pixels"
            )
    return ""


def _are_numbers(values: Any) -> bool:
    return (
        isinstance(values, list)
        and bool(values)
        and all(type(v) in (int, float) and -_LARGEST < v < _LARGEST for v in values)
    )


def _run_lengths_fault(runs: dict[str, Any], height: int, width: int) -> str:
    if "size" not in runs or "counts" not in runs:
        return 'its segmentation has no "size" and "counts", which run lengths have'
    if runs["size"] != [height, width]:
        return (
            f"its run lengths are for the size {runs['size']}, but the picture has "
            f"{[height, width]} (height, width)"
        )
    try:
        lengths = _run_lengths(runs["counts"])
    except ValueError as error:
        return f"its run lengths are damaged: {error}"
    if lengths.sum() != height * width:
        return f"its run lengths count {lengths.sum()} pixels, but the picture has {height * width}"
    if not lengths[1::2].any():
        return "its run lengths mark no pixel"
    return ""


def _run_lengths(counts: Any) -> NDArray[np.int64]:
    """Lengths int64 [N] of the runs, outside and inside in turn.

    Raises:
        ValueError: the counts are neither a list of lengths nor a packed text.
    """
    if isinstance(counts, str):
        lengths = _unpack(counts)
    elif isinstance(counts, list) and all(type(c) is int and c < _LARGEST for c in counts):
        lengths = np.array(counts, dtype=np.int64)
    else:
        raise ValueError("counts are neither a list of whole numbers nor a text")
    if not len(lengths) or lengths.min() < 0 or lengths.max() >= _LARGEST:
        raise ValueError("a length is negative, too large, or missing")
    return lengths


def _unpack(text: str) -> NDArray[np.int64]:
    """Lengths of a packed text, in the format of pycocotools.

    A character holds five bits of a number, lowest first, and whether more follow. From the fourth number on,
    each is the difference to the one two before it.
    """
    codes = np.frombuffer(text.encode("latin-1", "replace"), np.uint8).astype(np.int64) - 48
    if not len(codes) or codes.min() < 0 or codes.max() > 63 or codes[-1] & 32:
        raise ValueError("the packed text has other characters, or is cut")
    ends = np.flatnonzero((codes & 32) == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    if (ends - starts).max() >= _MAX_DIGITS:
        raise ValueError("the packed text holds a number that is too long")
    position = np.arange(len(codes)) - np.repeat(starts, ends - starts + 1)
    numbers = np.add.reduceat((codes & 31) << (5 * position), starts)
    negative = (codes[ends] & 16) != 0
    numbers = np.where(negative, numbers - (1 << (5 * (ends - starts + 1))), numbers)
    lengths = numbers.copy()
    for first in (1, 2):
        lengths[first::2] = numbers[first::2].cumsum()
    return lengths
