"""What the node sends for one camera; pictures and clouds are made only while someone listens."""

from __future__ import annotations

import cv2
import numpy as np
from geometry_msgs.msg import Point, Vector3
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import ColorRGBA, Header
from visualization_msgs.msg import Marker, MarkerArray

from ovps_core.pipeline.drawing import colours, draw_masks
from ovps_core.pipeline.pose import Part3D
from ovps_ros.messages import (
    duration,
    image_message,
    masks_message,
    nanoseconds,
    parts_3d_message,
    pose_message,
)
from ovps_ros.msg import PartMasks, Parts3D
from ovps_ros.pipeline import FrameResult, FrameResult3D

TOPICS = (
    ("masks", PartMasks, 5, "every image handled, also when nothing was found"),
    ("labels", Image, 1, "someone listens; 16UC1, a part's id per pixel, 0 = none"),
    ("overlay", Image, 1, "someone listens; rgb8"),
    ("overlay/compressed", CompressedImage, 1, "someone listens; JPEG"),
)
TOPICS_3D = (
    ("parts_3d", Parts3D, 5, "every image handled that has depth"),
    ("points", PointCloud2, 1, "someone listens; organised: x y z rgb label, NaN without depth"),
    ("markers", MarkerArray, 1, "someone listens; axes, box and words of every part"),
)
_POINT = np.dtype([(name, "<f4") for name in ("x", "y", "z")] + [("rgb", "<u4"), ("label", "<u4")])
_AXES = ((1.0, 0.2, 0.2), (0.2, 0.9, 0.2), (0.3, 0.4, 1.0))


class Outputs:
    """Publishers of one camera.

    Args:
        node: that sends.
        camera: name; "" where there is only one.
        use_depth: publish 3D too.
    """

    def __init__(self, node: Node, camera: str, use_depth: bool) -> None:
        self._node = node
        base = f"~/{camera}/" if camera else "~/"
        self._publishers: dict[str, Publisher] = {
            name: node.create_publisher(
                kind,
                base + name,
                QoSProfile(depth=depth, reliability=ReliabilityPolicy.RELIABLE),
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )
            for name, kind, depth, _ in TOPICS + (TOPICS_3D if use_depth else ())
        }

    def publish(self, answer: FrameResult, alpha: float) -> int:
        """Send everything that is wanted of one answer; returns stamp-to-publication in ns."""
        header, masks = answer.header, answer.masks
        latency = self._node.get_clock().now().nanoseconds - nanoseconds(header.stamp)
        self._publishers["masks"].publish(masks_message(masks, header, duration(latency)))
        if self._wanted("labels"):
            self._publishers["labels"].publish(image_message(masks.label_image(), header))
        if self._wanted("overlay") or self._wanted("overlay/compressed"):
            self._publish_overlay(answer, alpha)
        return latency

    def publish_3d(self, space: FrameResult3D, answer: FrameResult) -> None:
        """Send parts in space; the cloud stays in the optical frame."""
        header, masks = space.header, answer.masks
        self._publishers["parts_3d"].publish(
            parts_3d_message(space.parts, header, masks.height, masks.width)
        )
        if self._wanted("points"):
            xyz = space.camera.cloud(space.depth_m)
            labels = masks.label_image()
            self._publishers["points"].publish(
                cloud_message(xyz, answer.rgb, labels, answer.header)
            )
        if self._wanted("markers"):
            self._publishers["markers"].publish(markers_message(space.parts, header))

    def destroy(self) -> None:
        """Take the topics back."""
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)

    def _wanted(self, name: str) -> bool:
        return bool(self._publishers[name].get_subscription_count())

    def _publish_overlay(self, answer: FrameResult, alpha: float) -> None:
        drawn = draw_masks(answer.rgb, answer.masks, alpha)
        if self._wanted("overlay"):
            self._publishers["overlay"].publish(image_message(drawn, answer.header))
        if self._wanted("overlay/compressed"):
            _, jpeg = cv2.imencode(".jpg", drawn[..., ::-1])
            message = CompressedImage(header=answer.header, format="rgb8; jpeg compressed bgr8")
            message.data.frombytes(jpeg.tobytes())
            self._publishers["overlay/compressed"].publish(message)


def cloud_message(
    xyz: NDArray[np.float32], rgb: NDArray[np.uint8], labels: NDArray[np.uint16], header: Header
) -> PointCloud2:
    """Organised cloud of float32 [H, W, 3] points, their colours and part ids."""
    height, width = labels.shape
    points = np.empty((height, width), _POINT)
    for i, axis in enumerate("xyz"):
        points[axis] = xyz[..., i]
    red, green, blue = (rgb[..., i].astype(np.uint32) for i in range(3))
    points["rgb"] = red << 16 | green << 8 | blue
    points["label"] = labels
    message = PointCloud2(header=header, height=height, width=width, is_dense=False)
    kinds = {"label": PointField.UINT32}
    message.fields = [
        PointField(name=name, offset=offset, datatype=kinds.get(name, PointField.FLOAT32), count=1)
        for name, (_, offset, *_) in (_POINT.fields or {}).items()
    ]
    message.point_step, message.row_step = _POINT.itemsize, _POINT.itemsize * width
    message.data.frombytes(points.tobytes())
    return message


def markers_message(parts: tuple[Part3D, ...], header: Header) -> MarkerArray:
    """Box, axes and words of every part; the markers of the image before go."""
    markers = [Marker(header=header, action=Marker.DELETEALL)]
    palette = colours(len(parts))
    for part, (red, green, blue) in zip(parts, palette, strict=True):
        pose = pose_message(part.position, part.quaternion)
        long, wide, high = (max(float(size), 0.002) for size in part.size)
        box = Marker(header=header, ns="box", id=part.id, type=Marker.CUBE, pose=pose)
        box.scale = Vector3(x=long, y=wide, z=high)
        box.color = ColorRGBA(r=red / 255, g=green / 255, b=blue / 255, a=0.4)
        axes = Marker(header=header, ns="axes", id=part.id, type=Marker.LINE_LIST, pose=pose)
        axes.scale.x = 0.004
        for i, (r, g, b) in enumerate(_AXES):
            tip = [0.0, 0.0, 0.0]
            tip[i] = max(long / 2, 0.02)
            axes.points += [Point(), Point(x=tip[0], y=tip[1], z=tip[2])]
            axes.colors += [ColorRGBA(r=r, g=g, b=b, a=1.0)] * 2
        words = Marker(header=header, ns="words", id=part.id, type=Marker.TEXT_VIEW_FACING)
        words.pose = pose_message(part.position - np.array([0.0, 0.04, 0.0]), (0.0, 0.0, 0.0, 1.0))
        words.scale.z = 0.02
        words.color = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
        words.text = f"{part.query.text} {part.score:.2f}"
        markers += [box, axes, words]
    return MarkerArray(markers=markers)
