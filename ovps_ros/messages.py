"""Factory of rclpy messages, and the encoder that uses it."""

from __future__ import annotations

from typing import Any

from builtin_interfaces.msg import Duration, Time
from geometry_msgs.msg import Point, Pose, Quaternion, Vector3
from sensor_msgs.msg import Image, RegionOfInterest
from std_msgs.msg import Header

from ovps_core.ros_io.codec import PART_MASKS, PARTS_3D, MessageEncoder
from ovps_ros.msg import (
    ObjectMask,
    Part3D,
    PartMask,
    PartMasks,
    PartQuery,
    Parts3D,
    ReadAs,
    RefusedQuery,
)

_TYPES: dict[str, Any] = {
    "builtin_interfaces/msg/Duration": Duration,
    "builtin_interfaces/msg/Time": Time,
    "geometry_msgs/msg/Point": Point,
    "geometry_msgs/msg/Pose": Pose,
    "geometry_msgs/msg/Quaternion": Quaternion,
    "geometry_msgs/msg/Vector3": Vector3,
    "ovps_ros/msg/ObjectMask": ObjectMask,
    "ovps_ros/msg/Part3D": Part3D,
    "ovps_ros/msg/PartMask": PartMask,
    "ovps_ros/msg/PartQuery": PartQuery,
    "ovps_ros/msg/ReadAs": ReadAs,
    "ovps_ros/msg/RefusedQuery": RefusedQuery,
    "sensor_msgs/msg/Image": Image,
    "sensor_msgs/msg/RegionOfInterest": RegionOfInterest,
    "std_msgs/msg/Header": Header,
    PART_MASKS: PartMasks,
    PARTS_3D: Parts3D,
}
_ARRAYS = {"sensor_msgs/msg/Image": ("data",), "ovps_ros/msg/Part3D": ("indices",)}


def make_message(type_name: str, /, **fields: Any) -> Any:
    """Message of rclpy, of one of the types that the codec writes.

    Arrays are appended to the message's own ``array.array`` as one block of memory. Given to the constructor
    or assigned, rclpy would copy them element by element: 40 ms instead of 1 ms for an image of 1920x1080.
    """
    arrays = {name: fields.pop(name) for name in _ARRAYS.get(type_name, ())}
    message = _TYPES[type_name](**fields)
    for name, values in arrays.items():
        getattr(message, name).frombytes(values.data.cast("B"))
    return message


message_encoder = MessageEncoder(make_message)
"""Encoder of values as messages of rclpy."""
