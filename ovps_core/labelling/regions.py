"""Masks as regions of Label Studio and back: brush run lengths and polygons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from ovps_core.errors import DatasetError
from ovps_core.structures.masks import mask_iou

Shape = Literal["brush", "polygon"]

IMAGE_TAG, BRUSH_TAG, POLYGON_TAG = "image", "mask", "outline"
"""Names of the tags in the project's labelling interface."""

# Pixels that polygons may be off the mask; the first that gives it back is taken.
_TOLERANCES = 0.75, 0.0
_ON = 255
SAME = 0.98
"""Least IoU of masks that count as the same: an outline loses some pixels on the way."""
_DECODING = (
    KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, MemoryError, cv2.error,
)  # fmt: skip


@dataclass(frozen=True)
class Region:
    """One mask of a task.

    Attributes:
        key: id of the region; Label Studio keeps it while a person changes the region.
        label: name of the category.
        mask: bool [H, W].
        is_outline: it came as a polygon.
    """

    key: str
    label: str
    mask: NDArray[np.bool_]
    is_outline: bool = False


def to_results(region: Region, shape: Shape) -> list[dict[str, Any]]:
    """Results of Label Studio that show a region.

    Args:
        region: the mask; an empty one gives no result.
        shape: a brush keeps every pixel. Polygons, one for each outline, are easier to change by hand; a mask that
            they do not give back, such as a ring, is a brush all the same.
    """
    if not region.mask.any():
        return []
    outlines = _outlines(region.mask) if shape == "polygon" else []
    if not outlines:
        from label_studio_sdk.converter.brush import mask2rle

        runs = mask2rle(region.mask.astype(np.uint8) * _ON)
        value = {"format": "rle", "rle": runs, "brushlabels": [region.label]}
        return [_result(region, region.key, "brushlabels", BRUSH_TAG, value)]
    return [
        _result(
            region,
            region.key if len(outlines) == 1 else f"{region.key}:{number}",
            "polygonlabels",
            POLYGON_TAG,
            {"points": points, "closed": True, "polygonlabels": [region.label]},
        )
        for number, points in enumerate(outlines)
    ]


def from_results(results: Sequence[Any], height: int, width: int, source: str) -> Iterator[Region]:
    """Regions of an annotation. Those of other kinds, such as choices and relations, are left out.

    Args:
        results: the list ``result`` of an annotation.
        height, width: size of the picture, pixels.
        source: names the task in messages.

    Raises:
        DatasetError: a region has another size, is turned, or cannot be decoded.
    """
    for result in results:
        kind = result.get("type") if isinstance(result, Mapping) else None
        if kind not in ("brushlabels", "polygonlabels"):
            continue
        size = result.get("original_height"), result.get("original_width")
        if size != (height, width):
            raise DatasetError(
                f"{source}: a region is of a picture of {size} (height, width), but the data set's has "
                f"{(height, width)}; open the project again from this data set"
            )
        if result.get("image_rotation"):
            raise DatasetError(
                f"{source}: a region is of the picture turned by {result['image_rotation']} degrees, but the data "
                "set's is upright; turn it back in Label Studio"
            )
        try:
            value = result["value"]
            labels = list(value.get(kind) or [""])
            if len(labels) != 1:
                raise ValueError(f"it has the labels {labels}; expected one")
            mask = _brush(value["rle"], height, width) if kind == "brushlabels" else None
            mask = _polygon(value["points"], height, width) if mask is None else mask
        except _DECODING as error:
            raise DatasetError(
                f"{source}: the region {result.get('id')} cannot be decoded: {error}"
            ) from error
        if mask.any():
            key, is_outline = str(result.get("id", "")), kind == "polygonlabels"
            yield Region(key, str(labels[0]), mask, is_outline)


def _result(
    region: Region, key: str, kind: str, tag: str, value: Mapping[str, Any]
) -> dict[str, Any]:
    height, width = region.mask.shape
    return {
        "id": key,
        "type": kind,
        "from_name": tag,
        "to_name": IMAGE_TAG,
        "original_height": height,
        "original_width": width,
        "image_rotation": 0,
        "value": dict(value),
    }


def _brush(runs: list[int], height: int, width: int) -> NDArray[np.bool_]:
    from label_studio_sdk.converter.brush import decode_rle

    alpha = np.asarray(decode_rle(runs)).reshape(height, width, 4)[..., 3]
    return alpha > _ON // 2


def _polygon(points: list[list[float]], height: int, width: int) -> NDArray[np.bool_]:
    """Filled polygon; its points are percent of the picture's size. ValueError for anything else."""
    percent = np.array(points, dtype=np.float64)
    if percent.ndim != 2 or percent.shape[1] != 2 or len(percent) < 3:
        raise ValueError("a polygon needs 3 points of 2 numbers at least")
    if not (np.abs(percent - 50) <= 60).all():
        raise ValueError("its points are not percent of the picture's size")
    corners = percent * [width / 100, height / 100]
    mask = np.zeros((height, width), np.uint8)
    # corners of pixels, not their centres: 100 % is the right edge of the last pixel
    cv2.fillPoly(mask, [np.rint(corners - 0.5).astype(np.int32)], 1)
    return mask.astype(bool)


def outlined(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """A mask bool [H, W] as its coarse outlines give it back: holes are filled, specks left out."""
    return _filled(_polygons(mask, _TOLERANCES[0]), *mask.shape)


def _outlines(mask: NDArray[np.bool_]) -> list[list[list[float]]]:
    """Outer outlines of a mask, as coarse as they may be; none if they do not give it back."""
    for tolerance in _TOLERANCES:
        polygons = _polygons(mask, tolerance)
        if mask_iou(_filled(polygons, *mask.shape), mask) >= SAME:
            return polygons
    return []


def _filled(polygons: list[list[list[float]]], height: int, width: int) -> NDArray[np.bool_]:
    filled = np.zeros((height, width), bool)
    for points in polygons:
        filled |= _polygon(points, height, width)
    return filled


def _polygons(mask: NDArray[np.bool_], tolerance: float) -> list[list[list[float]]]:
    """Outer outlines of a mask as points in percent; a speck has none."""
    height, width = mask.shape
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    polygons = []
    for contour in contours:
        corners = cv2.approxPolyDP(contour, tolerance, True)[:, 0].astype(np.float64) + 0.5
        if len(corners) >= 3:
            polygons.append((corners * [100 / width, 100 / height]).tolist())
    return polygons
