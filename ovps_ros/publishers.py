"""Publishers of one camera; images and clouds are made only while someone subscribes to them."""

from __future__ import annotations

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
from ovps_core.ros_io.codec import nanoseconds
from ovps_core.structures.image_files import encode_image
from ovps_core.structures.part3d import Part3D
from ovps_ros.frame_result import FrameResult, FrameResult3D
from ovps_ros.messages import message_encoder
from ovps_ros.msg import PartMasks, Parts3D

TOPICS = (
    ("masks", PartMasks, 5, "every image, also if nothing was found"),
    ("labels", Image, 1, "if subscribed; 16UC1, id of the part per pixel, 0 = no part"),
    ("overlay", Image, 1, "if subscribed; rgb8"),
    ("overlay/compressed", CompressedImage, 1, "if subscribed; JPEG"),
)
TOPICS_3D = (
    ("parts_3d", Parts3D, 5, "every image with depth"),
    ("points", PointCloud2, 1, "if subscribed; organised: x y z rgb label, NaN without depth"),
    ("markers", MarkerArray, 1, "if subscribed; axes, box and label of every part"),
)
_POINT = np.dtype([(name, "<f4") for name in ("x", "y", "z")] + [("rgb", "<u4"), ("label", "<u4")])
_AXES = ((1.0, 0.2, 0.2), (0.2, 0.9, 0.2), (0.3, 0.4, 1.0))


class FramePublishers:
    """Publishers of the results of one camera.

    Args:
        node: the node.
        camera: name of the camera; "" if there is only one.
        use_depth: whether to publish parts in 3D too.
    """

    def __init__(self, node: Node, camera: str, use_depth: bool) -> None:
        self._node = node
        base = f"~/{camera}/" if camera else "~/"
        self._publishers: dict[str, Publisher] = {
            name: node.create_publisher(
                message_type,
                base + name,
                QoSProfile(depth=depth, reliability=ReliabilityPolicy.RELIABLE),
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )
            for name, message_type, depth, _ in TOPICS + (TOPICS_3D if use_depth else ())
        }

    def publish(self, result: FrameResult, alpha: float) -> int:
        """Publish masks, and labels and overlay if someone subscribes to them.

        Args:
            result: result of one frame.
            alpha: opacity of the overlay, 0..1.

        Returns:
            Time from the image's stamp to publication, nanoseconds.
        """
        header, masks = result.header, result.masks
        now: int = self._node.get_clock().now().nanoseconds
        latency = now - nanoseconds(header.stamp)
        self._publishers["masks"].publish(message_encoder.masks(masks, header, latency))
        if self._wanted("labels"):
            self._publishers["labels"].publish(message_encoder.image(masks.label_image(), header))
        if self._wanted("overlay") or self._wanted("overlay/compressed"):
            self._publish_overlay(result, alpha)
        return latency

    def publish_3d(self, in_3d: FrameResult3D, result: FrameResult) -> None:
        """Publish parts in 3D, and cloud and markers if someone subscribes to them.

        Parts and markers are in the target frame, the cloud is in the optical frame.
        """
        header, masks = in_3d.header, result.masks
        self._publishers["parts_3d"].publish(
            message_encoder.parts_3d(in_3d.parts, header, masks.height, masks.width)
        )
        if self._wanted("points"):
            xyz = in_3d.camera.cloud(in_3d.depth_m)
            labels = masks.label_image()
            self._publishers["points"].publish(
                cloud_message(xyz, result.rgb, labels, result.header)
            )
        if self._wanted("markers"):
            self._publishers["markers"].publish(markers_message(in_3d.parts, header))

    def destroy(self) -> None:
        """Remove the topics."""
        for publisher in self._publishers.values():
            self._node.destroy_publisher(publisher)

    def _wanted(self, name: str) -> bool:
        return bool(self._publishers[name].get_subscription_count())

    def _publish_overlay(self, result: FrameResult, alpha: float) -> None:
        drawn = draw_masks(result.rgb, result.masks, alpha)
        if self._wanted("overlay"):
            self._publishers["overlay"].publish(message_encoder.image(drawn, result.header))
        if self._wanted("overlay/compressed"):
            message = CompressedImage(header=result.header, format="rgb8; jpeg compressed bgr8")
            message.data.frombytes(encode_image(drawn, ".jpg"))
            self._publishers["overlay/compressed"].publish(message)


def cloud_message(
    xyz: NDArray[np.float32], rgb: NDArray[np.uint8], labels: NDArray[np.uint16], header: Header
) -> PointCloud2:
    """Make an organised point cloud with colours and part ids.

    Args:
        xyz: points, float32 [H, W, 3], metres; NaN without depth.
        rgb: colours, uint8 [H, W, 3].
        labels: part ids, uint16 [H, W]; 0 = no part.
        header: header of the cloud.
    """
    height, width = labels.shape
    points = np.empty((height, width), _POINT)
    for i, axis in enumerate("xyz"):
        points[axis] = xyz[..., i]
    red, green, blue = (rgb[..., i].astype(np.uint32) for i in range(3))
    points["rgb"] = red << 16 | green << 8 | blue
    points["label"] = labels
    message = PointCloud2(header=header, height=height, width=width, is_dense=False)
    datatypes = {"label": PointField.UINT32}
    message.fields = [
        PointField(
            name=name, offset=offset, datatype=datatypes.get(name, PointField.FLOAT32), count=1
        )
        for name, (_, offset, *_) in (_POINT.fields or {}).items()
    ]
    message.point_step, message.row_step = _POINT.itemsize, _POINT.itemsize * width
    message.data.frombytes(points.tobytes())
    return message


def markers_message(parts: tuple[Part3D, ...], header: Header) -> MarkerArray:
    """Make box, axes and label of every part; they replace the markers of the previous image."""
    markers = [Marker(header=header, action=Marker.DELETEALL)]
    palette = colours(len(parts))
    for part, (red, green, blue) in zip(parts, palette, strict=True):
        pose = message_encoder.pose(part.position, part.quaternion)
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
        label = Marker(header=header, ns="label", id=part.id, type=Marker.TEXT_VIEW_FACING)
        before = part.position + 0.04 * part.pose[:3, 2]  # z points out of the surface
        label.pose = message_encoder.pose(before, (0.0, 0.0, 0.0, 1.0))
        label.scale.z = 0.02
        label.color = ColorRGBA(r=1.0, g=1.0, b=1.0, a=1.0)
        label.text = f"{part.query.label} {part.score:.2f}"
        markers += [box, axes, label]
    return MarkerArray(markers=markers)
