"""The middleware in use: why a subscription stays silent, and what helps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from rclpy.node import Node
from rclpy.utilities import get_rmw_implementation_identifier

from ovps_ros.dds_profiles import CYCLONEDDS, FASTDDS, FASTDDS_VARIABLES, profile_path

_COMPRESSED = "/compressed"
_COMPRESSED_IMAGE = "sensor_msgs/msg/CompressedImage"
_MAX_OFFERED = 3  # topics that a hint names


def large_message_hint(middleware: str = "") -> str:
    """Advice for large messages that get lost.

    Args:
        middleware: name of the rmw implementation; the one in use if not given.
    """
    middleware = middleware or get_rmw_implementation_identifier()
    if "fastrtps" in middleware:
        profile = profile_path(FASTDDS) or f"config/{FASTDDS}"
        lines = " ".join(f"{variable}={profile}" for variable in FASTDDS_VARIABLES)
        if str(profile) in map(os.environ.get, FASTDDS_VARIABLES):
            return (
                "this node has the Fast DDS profile for large images, and the camera needs it too; before it "
                f"starts: export {lines}"
            )
        return (
            "large images over best effort need the Fast DDS profile of this package; before camera and node "
            f"start: export {lines}"
        )
    if "cyclone" in middleware:
        return (
            "large images need a larger socket buffer: `sudo sysctl -w net.core.rmem_max=8388608`, and "
            f"CYCLONEDDS_URI=file://{profile_path(CYCLONEDDS) or 'config/' + CYCLONEDDS} for camera and node "
            '(SocketReceiveBufferSize min="4MB")'
        )
    return (
        f"the middleware {middleware} may lose large images over best effort: raise its receive buffers, or set "
        "qos_overrides for a reliable subscription"
    )


def explain_silence(node: Node, subscription: Any, name: str) -> tuple[str, str]:
    """Explain why no message arrives at a subscription.

    Args:
        node: the subscriber.
        subscription: the silent subscription.
        name: name of the topic before remapping, such as "image".

    Returns:
        (cause, advice).
    """
    topic = subscription.topic_name
    publishers = node.get_publishers_info_by_topic(topic)
    if not publishers:
        return (
            f"no publisher on {topic}",
            _remap_hint(node, subscription.msg_type, name),
        )
    types = sorted({info.topic_type for info in publishers})
    wanted = _type_name(subscription.msg_type)
    if wanted not in types:
        return (
            f"{topic} has {', '.join(types)}; expected {wanted}",
            _type_hint(topic, types, wanted, name),
        )
    offers = sorted({info.qos_profile.reliability.name for info in publishers})
    requested = subscription.qos_profile.reliability.name
    cause = (
        f"{len(publishers)} publisher(s) on {topic} offer {', '.join(types)} {', '.join(offers)}; "
        f"requested {requested}"
    )
    if requested == "RELIABLE" and "BEST_EFFORT" in offers:
        return cause, f"set qos_overrides.{topic}.subscription.reliability to best_effort"
    cause += ", which fits"
    return cause, f"{large_message_hint()}; after a node was killed, restart the publisher"


def several_publishers(node: Node, topic: str) -> list[str]:
    """Names of the nodes that publish on a topic, if there are two or more publishers."""
    publishers = node.get_publishers_info_by_topic(topic)
    if len(publishers) < 2:
        return []
    return sorted(f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in publishers)


def _remap_hint(node: Node, message_type: type, name: str) -> str:
    """Advice to subscribe to one of the topics of a type that someone publishes."""
    wanted = _type_name(message_type)
    found = [
        topic
        for topic, types in node.get_topic_names_and_types()
        if wanted in types and _publishes_another(node, topic)
    ]
    remaps = [
        f"--ros-args -r {_remap(name, topic, wanted)}" for topic in sorted(found)[:_MAX_OFFERED]
    ]
    if not remaps:
        return f"start the camera, or remap: --ros-args -r {name}:=/camera/..."
    return f"{wanted} is published elsewhere, so remap: {' or '.join(remaps)}"


def _remap(name: str, topic: str, wanted: str) -> str:
    """Remapping of an input to a topic; the node itself adds the end of a compressed one's name."""
    if wanted != _COMPRESSED_IMAGE:
        return f"{name}:={topic}"
    end = "/compressedDepth" if name.endswith("depth") else _COMPRESSED
    if topic.endswith(end):
        return f"{name}:={topic.removesuffix(end)}"
    return f"{name}{end}:={topic}"


def _publishes_another(node: Node, topic: str) -> bool:
    """Return whether a node besides ``node`` publishes on a topic."""
    own = (node.get_name(), node.get_namespace())
    publishers = node.get_publishers_info_by_topic(topic)
    return any((info.node_name, info.node_namespace) != own for info in publishers)


def _type_hint(topic: str, types: Sequence[str], wanted: str, name: str) -> str:
    if types == [_COMPRESSED_IMAGE]:
        base, transport = topic, "image_transport:=compressed"
        if topic.endswith("/compressedDepth"):
            base, transport = (
                topic.removesuffix("/compressedDepth"),
                "depth_transport:=compressedDepth",
            )
        return f"the images are compressed: set {transport}, and remap {name} to {base.removesuffix(_COMPRESSED)}"
    if wanted == _COMPRESSED_IMAGE and types == ["sensor_msgs/msg/Image"]:
        return "the images are not compressed: set the transport to raw"
    return f"remap {name} to a topic of {wanted}"


def _type_name(message_type: type) -> str:
    return f"{message_type.__module__.split('.')[0]}/msg/{message_type.__name__}"
