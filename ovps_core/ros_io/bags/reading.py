"""Frames of a recording: each colour image with depth, camera_info and masks of the same stamp."""

from __future__ import annotations

import math
import struct
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.highlevel import AnyReader

from ovps_core.errors import RecordingError
from ovps_core.ros_io.bags.damage import IN_DAMAGE, MessageReader, deserialize
from ovps_core.ros_io.bags.messages import typestore
from ovps_core.ros_io.codec import PART_MASKS
from ovps_core.ros_io.depth_frames import STAMP_SLOP_S

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
_TYPES = {
    "image": (IMAGE, COMPRESSED),
    "depth": (IMAGE, COMPRESSED),
    "info": ("sensor_msgs/msg/CameraInfo",),
    "depth_info": ("sensor_msgs/msg/CameraInfo",),
    "masks": (PART_MASKS,),
}
_AT_ANY_TIME = ("info", "depth_info")  # sent once, or with every image
_SECOND = 1_000_000_000


@dataclass(frozen=True)
class BagTopics:
    """Topics of a recording to read; empty for a topic that the recording lacks.

    Attributes:
        image: colour images, sensor_msgs/Image or CompressedImage.
        depth: depth images, sensor_msgs/Image or CompressedImage.
        info: sensor_msgs/CameraInfo of the colour images.
        depth_info: sensor_msgs/CameraInfo of the depth images; only for depth that is not aligned to colour.
        masks: ovps_ros/PartMasks of the colour images.
    """

    image: str
    depth: str = ""
    info: str = ""
    masks: str = ""
    depth_info: str = ""

    @property
    def named(self) -> dict[str, str]:
        """Mapping of role to topic, of the topics that are given."""
        return {role: topic for role in _TYPES if (topic := getattr(self, role))}


@dataclass(frozen=True)
class BagFrame:
    """Colour image and the messages that belong to it, as messages of rosbags.

    Attributes:
        stamp_ns: header.stamp of the image, nanoseconds.
        recorded_ns: record time of the image, nanoseconds.
        image: the colour image.
        depth: depth image nearest in time, or None.
        info: camera_info nearest in time, or the last one if none has a stamp, or None.
        depth_info: camera_info of the depth camera nearest in time, or None.
        masks: part masks of the same stamp, or None.
    """

    stamp_ns: int
    recorded_ns: int
    image: Any
    depth: Any | None
    info: Any | None
    depth_info: Any | None
    masks: Any | None


@dataclass(frozen=True)
class _Recorded:
    """Serialised message of a recording."""

    time_ns: int
    type_name: str
    raw: bytes


class _Nearest:
    """Search for the message nearest to a stamp.

    Args:
        stamps: stamps of all messages of a topic, in the order recorded, nanoseconds.
    """

    def __init__(self, stamps: list[int]) -> None:
        self._order = np.argsort(np.array(stamps, np.int64), kind="stable")
        self._sorted = np.array(stamps, np.int64)[self._order]

    def find(self, stamp: int) -> tuple[int, float]:
        """Return (number of the nearest message, difference in nanoseconds); (-1, inf) if there is none."""
        if not len(self._sorted):
            return -1, math.inf
        position = int(np.searchsorted(self._sorted, stamp))
        candidates = range(max(0, position - 1), min(position + 1, len(self._sorted)))
        best = min(candidates, key=lambda i: abs(int(self._sorted[i]) - stamp))
        return int(self._order[best]), abs(int(self._sorted[best]) - stamp)


@contextmanager
def open_bag(path: str | Path) -> Iterator[AnyReader]:
    """Open a rosbag2 recording: its folder, or its single .mcap or .db3 file.

    Raises:
        RecordingError: the recording does not exist, is damaged, or is of ROS 1.
    """
    path = Path(path)
    _check_layout(path)
    try:
        reader = AnyReader([path], default_typestore=typestore())
        reader.open()
    except Exception as error:  # damaged bytes raise errors of many libraries
        raise RecordingError(
            f"{path} cannot be read as a rosbag2 recording: {error}; "
            "`ros2 bag reindex` or `mcap recover` may mend it"
        ) from error
    try:
        yield reader
    finally:
        reader.close()


def _check_layout(path: Path) -> None:
    """Raise RecordingError for a path that is no rosbag2 recording."""
    if not path.exists():
        raise RecordingError(
            f"no recording at {path}; expected a rosbag2 folder with metadata.yaml"
        )
    old = path if path.is_file() else next(iter(sorted(path.glob("*.bag"))), None)
    if old is not None and _is_ros1(old):
        raise RecordingError(
            f"{old} is a recording of ROS 1; convert it: "
            f"rosbags-convert --src {old} --dst {old.with_suffix('')}_ros2"
        )
    if path.is_dir() and not (path / "metadata.yaml").is_file():
        files = sorted(str(f) for f in path.iterdir() if f.suffix in (".mcap", ".db3"))
        advice = f"give its file instead: {', '.join(files)}" if files else "it holds no recording"
        raise RecordingError(f"{path} cannot be read: it has no metadata.yaml; {advice}")


def _is_ros1(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(7) == b"#ROSBAG"


class BagFrames:
    """Iterable over the frames of a recording, in the order recorded.

    Messages are matched by header.stamp, never by record time: masks of the same stamp, the nearest depth within
    ``slop_s``, the nearest camera_info at any distance. Of camera_info without any stamp, the last one before the
    image counts. Memory does not grow with the recording: only the stamps are kept of messages that no waiting
    frame needs.

    Args:
        reader: an open recording.
        topics: topics to read.
        slop_s: maximum difference of the stamps of an image and its depth, seconds.
        required: roles ("depth", "masks", "info") without which an image is left out.

    Attributes:
        drops: number of images left out, by reason.

    Raises:
        RecordingError: a topic does not exist or has another type; the message lists the recording's topics.
    """

    def __init__(
        self,
        reader: AnyReader,
        topics: BagTopics,
        slop_s: float = STAMP_SLOP_S,
        required: frozenset[str] = frozenset(),
    ) -> None:
        self.topics = topics
        self.drops: Counter[str] = Counter()
        self._reader = reader
        self._roles: dict[str, list[str]] = defaultdict(list)
        connections: list[Any] = []
        for role, topic in topics.named.items():
            self._roles[topic].append(role)
            connections += [c for c in _find(reader, role, topic) if c not in connections]
        self._readable = MessageReader(reader, connections)
        self._matches: dict[int, dict[str, int]] = {}
        self._match(round(slop_s * _SECOND), required)
        if self._readable.lost:
            self.drops[IN_DAMAGE] = self._readable.lost

    def __len__(self) -> int:
        """Number of frames."""
        return len(self._matches)

    def __iter__(self) -> Iterator[BagFrame]:
        """Read the frames."""
        uses = Counter(item for match in self._matches.values() for item in match.items())
        held: dict[tuple[str, int], _Recorded] = {}
        waiting: deque[int] = deque()
        for item, recorded in self._messages():
            if item not in uses:
                continue
            held[item] = recorded
            if item[0] == "image":
                waiting.append(item[1])
            while waiting and all(key in held for key in self._matches[waiting[0]].items()):
                items = self._matches[waiting.popleft()].items()
                frame = self._frame({role: held[role, number] for role, number in items})
                uses.subtract(items)
                for key in items:
                    if not uses[key]:
                        del held[key]
                if frame is not None:
                    yield frame

    def _frame(self, recorded: dict[str, _Recorded]) -> BagFrame | None:
        messages: dict[str, Any] = dict.fromkeys(_TYPES)
        for role, message in recorded.items():
            try:
                messages[role] = deserialize(self._reader, message.raw, message.type_name)
            except RecordingError:
                self.drops[f"damaged {role} message"] += 1
                return None
        image = recorded["image"]
        return BagFrame(_stamp_ns(image.raw), image.time_ns, **messages)

    def _messages(self) -> Iterator[tuple[tuple[str, int], _Recorded]]:
        """Yield ((role, number within the role), message), in the order recorded."""
        numbers: Counter[str] = Counter()
        for connection, time_ns, raw in self._readable:
            for role in self._roles[connection.topic]:
                yield (role, numbers[role]), _Recorded(time_ns, connection.msgtype, raw)
                numbers[role] += 1

    def _match(self, slop: int, required: frozenset[str]) -> None:
        """Find the messages that belong to each image."""
        stamps: dict[str, list[int]] = {role: [] for role in self.topics.named}
        last: dict[str, list[int]] = {role: [] for role in _AT_ANY_TIME if role in stamps}
        for (role, _), recorded in self._messages():
            stamps[role].append(_stamp_ns(recorded.raw))
            if role == "image":
                for info, numbers in last.items():
                    numbers.append(max(0, len(stamps[info]) - 1))
        unstamped = {role for role in last if stamps[role] and max(stamps[role]) <= 0}
        others = {role: _Nearest(values) for role, values in stamps.items() if role != "image"}
        seen: set[int] = set()
        for number, stamp in enumerate(stamps["image"]):
            if stamp <= 0 or stamp in seen:
                self.drops["no stamp" if stamp <= 0 else "stamp seen before"] += 1
                continue
            seen.add(stamp)
            match = {"image": number}
            for role, nearest in others.items():
                found, apart = nearest.find(stamp)
                limit = 0 if role == "masks" else slop  # masks have the header of their image
                if role in unstamped:
                    match[role] = last[role][number]
                elif apart <= limit or (role in _AT_ANY_TIME and found >= 0):
                    match[role] = found
            absent = sorted(required - set(match))
            if absent:
                where = "of its stamp" if absent[0] == "masks" else f"within {slop / _SECOND:g} s"
                self.drops[f"no {absent[0]} {where}"] += 1
            else:
                self._matches[number] = match


def only_image_topic(reader: AnyReader) -> str:
    """Find the only topic of colour images in a recording.

    Raises:
        RecordingError: there is none, or more than one; the message names them.
    """
    names = sorted({c.topic for c in reader.connections if c.msgtype in _TYPES["image"]})
    colour = [name for name in names if "depth" not in name.lower()]
    if len(colour) != 1:
        raise RecordingError(
            f"the recording has {len(colour)} colour image topics ({', '.join(names) or 'none'}); "
            "name one with --image"
        )
    return colour[0]


def _find(reader: AnyReader, role: str, topic: str) -> list[Any]:
    found = [connection for connection in reader.connections if connection.topic == topic]
    if found and all(connection.msgtype in _TYPES[role] for connection in found):
        return found
    available = sorted({f"{c.topic} ({c.msgtype})" for c in reader.connections})
    problem = f"of type {found[0].msgtype}" if found else "not in the recording"
    raise RecordingError(
        f"--{role.replace('_', '-')} {topic} is {problem}; expected {' or '.join(_TYPES[role])}. "
        f"The recording has: {', '.join(available) or 'nothing'}"
    )


def _stamp_ns(raw: bytes) -> int:
    """Stamp of a serialised message (CDR) that begins with a std_msgs/Header; 0 for truncated data."""
    if len(raw) < 12:
        return 0
    seconds, nanoseconds = struct.unpack_from("<iI" if raw[1] & 1 else ">iI", raw, 4)
    return int(seconds * _SECOND + nanoseconds)
