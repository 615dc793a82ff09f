"""Print each part that the node finds: its place, and how far a gripper has to open to grasp it across.

Start the node with use_depth, then run ``python examples/grasp_consumer.py``.
"""

from contextlib import suppress

import numpy as np
import rclpy
from ovps_ros.msg import PartMasks, Parts3D
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node


class GraspConsumer(Node):
    """Node that joins the masks and the poses of one image by its stamp."""

    def __init__(self) -> None:
        super().__init__("grasp_consumer")
        self.waiting: dict[tuple[int, int], dict[type, PartMasks | Parts3D]] = {}
        self.create_subscription(PartMasks, "/ovps/masks", self.receive, 10)
        self.create_subscription(Parts3D, "/ovps/parts_3d", self.receive, 10)

    def receive(self, message: PartMasks | Parts3D) -> None:
        """Keep a message until the other one of the same image is here."""
        stamp = message.header.stamp.sec, message.header.stamp.nanosec
        pair = self.waiting.setdefault(stamp, {})
        pair[type(message)] = message
        if len(pair) == 2:
            self.show(pair[PartMasks], pair[Parts3D])
            del self.waiting[stamp]
        while len(self.waiting) > 10:  # an image without depth gives masks only
            del self.waiting[next(iter(self.waiting))]  # the one that has waited longest

    def show(self, masks: PartMasks, parts_3d: Parts3D) -> None:
        """Print one line for each part with a pose."""
        mask_of = {part.id: part.mask for part in masks.parts}
        for part in parts_3d.parts:
            place, pixels = part.pose.position, np.count_nonzero(mask_of[part.id].data)
            print(
                f"{part.query.text} #{part.track_id}: "
                f"x {place.x:.3f} y {place.y:.3f} z {place.z:.3f} m in {parts_3d.header.frame_id}, "
                f"grasp width {1000 * part.size.y:.0f} mm, {pixels} pixels",
                flush=True,
            )


if __name__ == "__main__":
    rclpy.init()
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(GraspConsumer())
