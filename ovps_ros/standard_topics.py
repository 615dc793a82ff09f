"""Results in standard messages: detections of vision_msgs, names of label ids, and arrays of poses.

Nodes and displays that know nothing of OVPS read these. Their messages are made only while someone subscribes.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterable, Sequence
from typing import Any

from geometry_msgs.msg import PoseArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from std_msgs.msg import Header

from ovps_core.structures.masks import PartMasks
from ovps_core.structures.part3d import Part3D
from ovps_core.structures.query import PartQuery
from ovps_ros.frame_result import FrameResult, FrameResult3D
from ovps_ros.messages import message_encoder

MAX_POSE_TOPICS = 32
"""Queries that have a topic of poses of their own; of a longer list the first ones."""
_MAX_NAME = 60
"""Characters of a query's topic; ROS takes at most 247 of a topic, with its namespaces."""

_NOT_IN_NAMES = r"[^a-zA-Z0-9\s_'’-]"
"""Characters that a topic's name cannot show, other than the signs between words."""

STANDARD_TOPICS = (
    ("detections", "vision_msgs/Detection2DArray", "reliable, 5", "if subscribed; box, phrase, score, track id"),
    (
        "label_info",
        "vision_msgs/LabelInfo",
        "reliable, transient local, 1",
        "when the parts of an image change; phrase of each id in ~/labels",
    ),
)  # fmt: skip
STANDARD_TOPICS_3D = (
    ("detections_3d", "vision_msgs/Detection3DArray", "reliable, 5", "if subscribed; oriented box of every part"),
    ("poses", "geometry_msgs/PoseArray", "reliable, 5", "if subscribed; pose of every part"),
    ("poses/QUERY", "geometry_msgs/PoseArray", "reliable, 5", "if subscribed; of one query: ~/poses/mug_rim"),
)  # fmt: skip


class StandardPublishers:
    """Publishers of one camera's results in standard messages; those of vision_msgs only where it is installed.

    Args:
        node: the node.
        base: start of the names of its topics, such as "~/" or "~/left/".
        use_depth: whether there are parts in 3D.
    """

    def __init__(self, node: Node, base: str, use_depth: bool) -> None:
        self._node, self._base = node, base
        self._types = import_vision_messages()
        self._named: dict[int, str] | None = None
        # The worker publishes on topics of queries while the executor makes and destroys them.
        self._lock = threading.Lock()
        self._by_query: dict[str, Publisher] = {}
        self._publishers: dict[str, Publisher] = {}
        if use_depth:
            self._add("poses", PoseArray)
        for topic, type_name in (("detections", "Detection2DArray"), ("label_info", "LabelInfo")):
            if type_name in self._types:
                self._add(topic, self._types[type_name])
        if use_depth and "Detection3DArray" in self._types:
            self._add("detections_3d", self._types["Detection3DArray"])

    def show_queries(self, queries: Sequence[PartQuery]) -> None:
        """Make the topics of queries that are new and remove those of queries that are gone.

        They are there before the first image. Call it in the executor.
        """
        topics = dict.fromkeys(topic_name(query.label) for query in queries)
        with self._lock:
            if "poses" not in self._publishers:  # there is no depth, or the topics are destroyed
                return
            before = self._by_query
            self._by_query = {
                topic: before.get(topic) or self._make(f"poses/{topic}", PoseArray)
                for topic in list(topics)[:MAX_POSE_TOPICS]
            }
            for topic, publisher in before.items():
                if topic not in self._by_query:
                    self._node.destroy_publisher(publisher)

    def publish(self, result: FrameResult, threshold: float) -> None:
        """Publish boxes and names of the parts of a frame.

        Args:
            result: result of the frame.
            threshold: minimum score of its parts.
        """
        if self._wanted("detections"):
            message = detections_message(self._types, result.masks, result.header)
            self._publishers["detections"].publish(message)
        if "label_info" in self._publishers:
            named = {part.id: part.query.label for part in result.masks.parts}
            if named != self._named:  # a late subscriber gets the last one
                message = label_info_message(self._types, named, threshold, result.header)
                self._publishers["label_info"].publish(message)
                self._named = named

    def publish_3d(self, in_3d: FrameResult3D, masks: PartMasks) -> None:
        """Publish boxes and poses of the parts in 3D of a frame, in the frame of ``in_3d``."""
        if self._wanted("detections_3d"):
            message = detections_3d_message(self._types, in_3d.parts, in_3d.header)
            self._publishers["detections_3d"].publish(message)
        if self._wanted("poses"):
            self._publishers["poses"].publish(poses_message(in_3d.parts, in_3d.header))
        self._publish_by_query(in_3d, masks)

    def destroy(self) -> None:
        """Remove the topics."""
        with self._lock:
            for publisher in (*self._publishers.values(), *self._by_query.values()):
                self._node.destroy_publisher(publisher)
            self._publishers, self._by_query = {}, {}

    def _publish_by_query(self, in_3d: FrameResult3D, masks: PartMasks) -> None:
        topics = {query.label: topic_name(query.label) for query in masks.queries}
        answered = set(topics.values())  # an image may still be answered for the queries before
        with self._lock:
            for topic, publisher in self._by_query.items():
                if topic in answered and publisher.get_subscription_count():
                    parts = [part for part in in_3d.parts if topics.get(part.query.label) == topic]
                    publisher.publish(poses_message(parts, in_3d.header))

    def _add(self, topic: str, message_type: Any) -> None:
        self._publishers[topic] = self._make(topic, message_type)

    def _make(self, topic: str, message_type: Any) -> Publisher:
        latched = topic == "label_info"
        durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
        qos = QoSProfile(
            depth=1 if latched else 5,
            reliability=ReliabilityPolicy.RELIABLE,
            durability=durability,
        )
        # Those of a query come and go; each would leave parameters behind.
        fixed = not topic.startswith("poses/")
        overriding = QoSOverridingOptions.with_default_policies() if fixed else None
        return self._node.create_publisher(
            message_type, self._base + topic, qos, qos_overriding_options=overriding
        )

    def _wanted(self, topic: str) -> bool:
        publisher = self._publishers.get(topic)
        return publisher is not None and bool(publisher.get_subscription_count())


def import_vision_messages() -> dict[str, Any]:
    """Message types of vision_msgs by name; empty where it is not installed."""
    try:
        from vision_msgs import msg
    except ImportError:
        return {}
    return vars(msg)


def topic_name(text: str) -> str:
    """Name of a query's topic: small letters, digits and "_", as ROS names allow.

    It ends in a digest if it is cut, or if a letter or sign has no place in it, so that "杯子" and "刀" differ.

    Example:
        >>> topic_name("Handle of the 2nd mug"), topic_name("3 knobs"), topic_name("café handle")
        ('handle_of_the_2nd_mug', '_3_knobs', 'caf_handle_5d77d4')
    """
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "query"
    name = f"_{name}" if name[0].isdigit() else name
    if len(name) > _MAX_NAME or re.search(_NOT_IN_NAMES, text):
        digest = hashlib.sha256(text.encode()).hexdigest()[:6]
        name = f"{name[: _MAX_NAME - 1 - len(digest)].rstrip('_')}_{digest}"
    return name


def detections_message(types: dict[str, Any], masks: PartMasks, header: Header) -> Any:
    """Make a Detection2DArray: for each part its box in pixels, its label, its score and its track id."""
    detections = []
    for part in masks.parts:
        box = types["BoundingBox2D"](size_x=float(part.box.width), size_y=float(part.box.height))
        box.center.position.x = part.box.x_offset + part.box.width / 2
        box.center.position.y = part.box.y_offset + part.box.height / 2
        result = _hypothesis(types, part.query.label, part.score)
        detections.append(
            types["Detection2D"](
                header=header, results=[result], bbox=box, id=str(part.track_id or part.id)
            )
        )
    return types["Detection2DArray"](header=header, detections=detections)


def detections_3d_message(types: dict[str, Any], parts: Iterable[Part3D], header: Header) -> Any:
    """Make a Detection3DArray: for each part its oriented box in metres, label, score and track id."""
    detections = []
    for part in parts:
        pose = message_encoder.pose(part.position, part.quaternion)
        box = types["BoundingBox3D"](center=pose)
        box.size.x, box.size.y, box.size.z = (float(side) for side in part.size)
        result = _hypothesis(types, part.query.label, part.score)
        result.pose.pose = pose
        detections.append(
            types["Detection3D"](
                header=header, results=[result], bbox=box, id=str(part.track_id or part.id)
            )
        )
    return types["Detection3DArray"](header=header, detections=detections)


def label_info_message(
    types: dict[str, Any], named: dict[int, str], threshold: float, header: Header
) -> Any:
    """Make a LabelInfo: the query's label of each value in ~/labels."""
    classes = [
        types["VisionClass"](class_id=label, class_name=text) for label, text in named.items()
    ]
    return types["LabelInfo"](header=header, class_map=classes, threshold=threshold)


def poses_message(parts: Iterable[Part3D], header: Header) -> PoseArray:
    """Make a PoseArray of the poses of parts."""
    poses = [message_encoder.pose(part.position, part.quaternion) for part in parts]
    return PoseArray(header=header, poses=poses)


def _hypothesis(types: dict[str, Any], text: str, score: float) -> Any:
    result = types["ObjectHypothesisWithPose"]()
    result.hypothesis.class_id, result.hypothesis.score = text, float(score)
    return result
