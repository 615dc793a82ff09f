"""The middleware in use: why a subscription stays silent, and what helps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from rclpy.node import Node
from rclpy.utilities import get_rmw_implementation_identifier

from ovps_ros.dds_profiles import CYCLONEDDS, FASTDDS, FASTDDS_VARIABLES, profile_path
from ovps_ros.launch_arguments import INPUTS, PARAMETERS

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
            _type_hint(node, subscription, types, name),
        )
    offers = sorted({info.qos_profile.reliability.name for info in publishers})
    requested = subscription.qos_profile.reliability.name
    cause = (
        f"{len(publishers)} publisher(s) on {topic} offer {', '.join(types)} {', '.join(offers)}; "
        f"requested {requested}"
    )
    if requested == "RELIABLE" and "BEST_EFFORT" in offers:
        parameter = f"qos_overrides.{topic}.subscription.reliability"
        return cause, (
            f"ask for best effort. With ros2 launch, in params_file: {parameter}: best_effort. With ros2 run: "
            f"--ros-args -p {parameter}:=best_effort"
        )
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
        if wanted in types and _publishes_another(node, topic, wanted)
    ]
    if not found:
        return f"start the camera, or remap. {_lines([f'{name}:=/camera/...'])}"
    remaps = [_remap(name, topic, wanted) for topic in sorted(found)[:_MAX_OFFERED]]
    return f"{wanted} is published elsewhere, so remap. {_lines(remaps)}"


def _lines(remaps: Sequence[str], parameter: str = "") -> str:
    """Words to write behind either command that starts the node.

    Args:
        remaps: remappings of one input, one of which is to be chosen.
        parameter: NAME:=VALUE to set too; "" for none.
    """
    setting, _, value = parameter.partition(":=")
    launch, run = [], []
    for remap in remaps:
        argument = remap if remap.partition(":=")[0] in INPUTS else f'remap:="{remap}"'
        if setting in PARAMETERS:
            argument += f" {parameter}"
        elif setting:  # no argument of the launch file
            argument += f", and {setting}: {value} in params_file"
        launch.append(argument)
        run.append("--ros-args " + (f"-p {parameter} " if parameter else "") + f"-r {remap}")
    return f"With ros2 launch: {' or '.join(launch)}. With ros2 run: {' or '.join(run)}"


def _remap(name: str, topic: str, wanted: str) -> str:
    """Remapping of an input to a topic; the node itself adds the end of a compressed one's name."""
    if wanted != _COMPRESSED_IMAGE:
        return f"{name}:={topic}"
    end = "/compressedDepth" if name.endswith("depth") else _COMPRESSED
    if topic.endswith(end):
        return f"{name}:={topic.removesuffix(end)}"
    return f"{name}{end}:={topic}"


def _publishes_another(node: Node, topic: str, wanted: str) -> bool:
    """Return whether a node besides ``node`` publishes a type on a topic."""
    own = (node.get_name(), node.get_namespace())
    return any(
        info.topic_type == wanted and (info.node_name, info.node_namespace) != own
        for info in node.get_publishers_info_by_topic(topic)
    )


def _type_hint(node: Node, subscription: Any, types: Sequence[str], name: str) -> str:
    """Advice for a topic that has other types than the one wanted."""
    topic, wanted = subscription.topic_name, _type_name(subscription.msg_type)
    is_depth = name.endswith("depth")
    if types == [_COMPRESSED_IMAGE]:
        transport = (
            "depth_transport:=compressedDepth" if is_depth else "image_transport:=compressed"
        )
        there = _remap(name, topic, _COMPRESSED_IMAGE)
        return f"the images are compressed. {_lines([there], transport)}"
    if wanted == _COMPRESSED_IMAGE and types == ["sensor_msgs/msg/Image"]:
        transport = "depth_transport:=raw" if is_depth else "image_transport:=raw"
        return f"the images are not compressed. {_lines([f'{name}:={topic}'], transport)}"
    return _remap_hint(node, subscription.msg_type, name)


def _type_name(message_type: type) -> str:
    return f"{message_type.__module__.split('.')[0]}/msg/{message_type.__name__}"
