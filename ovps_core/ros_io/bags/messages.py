"""The package's own messages for rosbags: definitions from msg/*.msg, and values turned into them."""

from __future__ import annotations

import functools
import os
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from ovps_core.errors import DatasetError
from ovps_core.pipeline.pose import Part3D
from ovps_core.structures.masks import PartMask, PartMasks
from ovps_core.structures.query import PartQuery

PART_MASKS = "ovps_ros/msg/PartMasks"
PARTS_3D = "ovps_ros/msg/Parts3D"
_SECOND = 1_000_000_000


def definitions_folder() -> Path:
    """Where the .msg files are: the source tree, a sourced ROS workspace, or this Python's prefix.

    Raises:
        DatasetError: nowhere.
    """
    prefixes = os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)
    shares = [Path(p) / "share/ovps_ros/msg" for p in (*prefixes, sysconfig.get_path("data")) if p]
    places = [Path(__file__).parents[3] / "msg", *shares]
    for place in places:
        if (place / "PartMasks.msg").is_file():
            return place
    raise DatasetError(
        f"the message definitions are in none of {', '.join(map(str, places))}; "
        "install the package again, or source the workspace it was built in"
    )


@functools.cache
def typestore() -> Typestore:
    """The standard messages and ours; made once, as rosbags writes code for every type."""
    store = get_typestore(Stores.ROS2_JAZZY)
    types: dict[Any, Any] = {}
    for file in sorted(definitions_folder().glob("*.msg")):
        types.update(get_types_from_msg(file.read_text(), f"ovps_ros/msg/{file.stem}"))
    store.register(types)
    return store


class MessageMaker:
    """Makes messages of one typestore.

    Args:
        store: as :func:`typestore` gives it.
    """

    def __init__(self, store: Typestore) -> None:
        self.store = store

    def make(self, type: str, **fields: Any) -> Any:
        """A message, such as ``make("sensor_msgs/msg/Image", header=...)``; every field is needed."""
        return self.store.types[type](**fields)

    def header(self, stamp_ns: int, frame_id: str) -> Any:
        """std_msgs/Header."""
        stamp = self.make(
            "builtin_interfaces/msg/Time", sec=stamp_ns // _SECOND, nanosec=stamp_ns % _SECOND
        )
        return self.make("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)

    def image(self, header: Any, pixels: NDArray[Any], encoding: str) -> Any:
        """sensor_msgs/Image of [H, W] or [H, W, C]."""
        height, width = pixels.shape[:2]
        data = np.ascontiguousarray(pixels).reshape(-1).view(np.uint8)
        return self.make(
            "sensor_msgs/msg/Image",
            header=header,
            height=height,
            width=width,
            encoding=encoding,
            is_bigendian=0,
            step=data.size // height,
            data=data,
        )

    def masks(self, masks: PartMasks, header: Any) -> Any:
        """ovps_ros/PartMasks; latency is zero, as nobody waited."""
        queries = {query: self._query(query) for query in masks.queries}
        return self.make(
            PART_MASKS,
            header=header,
            height=masks.height,
            width=masks.width,
            queries=list(queries.values()),
            parts=[self._mask(part, header, queries[part.query]) for part in masks.parts],
            model=masks.model,
            latency=self.make("builtin_interfaces/msg/Duration", sec=0, nanosec=0),
        )

    def parts_3d(self, parts: Sequence[Part3D], header: Any, height: int, width: int) -> Any:
        """ovps_ros/Parts3D."""
        return self.make(
            PARTS_3D,
            header=header,
            height=height,
            width=width,
            parts=[self._part_3d(part) for part in parts],
        )

    def _query(self, query: PartQuery) -> Any:
        return self.make(
            "ovps_ros/msg/PartQuery",
            text=query.text,
            object=query.object,
            part=query.part,
            threshold=query.threshold,
            max_parts=query.max_parts,
        )

    def _mask(self, part: PartMask, header: Any, query: Any) -> Any:
        roi = part.box
        return self.make(
            "ovps_ros/msg/PartMask",
            id=part.id,
            track_id=part.track_id,
            query=query,
            score=part.score,
            roi=self.make(
                "sensor_msgs/msg/RegionOfInterest",
                x_offset=roi.x_offset,
                y_offset=roi.y_offset,
                height=roi.height,
                width=roi.width,
                do_rectify=False,
            ),
            mask=self.image(header, part.mask.astype(np.uint8) * np.uint8(255), "mono8"),
        )

    def _part_3d(self, part: Part3D) -> Any:
        position = self.make("geometry_msgs/msg/Point", **_named("xyz", part.position))
        orientation = self.make("geometry_msgs/msg/Quaternion", **_named("xyzw", part.quaternion))
        return self.make(
            "ovps_ros/msg/Part3D",
            id=part.id,
            track_id=part.track_id,
            query=self._query(part.query),
            score=part.score,
            pose=self.make("geometry_msgs/msg/Pose", position=position, orientation=orientation),
            size=self.make("geometry_msgs/msg/Vector3", **_named("xyz", part.size)),
            depth_coverage=part.depth_coverage,
            indices=part.indices,
        )


def _named(names: str, values: NDArray[np.float64]) -> dict[str, float]:
    return {name: float(value) for name, value in zip(names, values, strict=True)}
