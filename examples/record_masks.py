"""Record the camera's images and the node's masks, for ``ovps bag extract``, Foxglove or RViz.

Run ``python examples/record_masks.py kitchen --ros-args -r image:=/camera/color/image_raw``; Ctrl-C ends it.
Further topics of masks are recorded too: ``python examples/record_masks.py kitchen /sim_camera/truth``.
It needs neither rosbag2 nor the command ``ros2``, only ``pip install 'ovps[bags]'``.
"""

import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import rclpy
from ovps_ros.msg import PartMasks
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import Image

from ovps_ros.tools.record import Recorder


class MaskRecorder(Node):
    """Node that writes every image and every list of masks into a recording."""

    def __init__(self, recorder: Recorder, further: list[str]) -> None:
        super().__init__("record_masks")
        self.recorder = recorder
        for kind, name, qos in (
            (Image, "image", qos_profile_sensor_data),
            (PartMasks, "/ovps/masks", 10),
            *((PartMasks, topic, 10) for topic in further),
        ):
            topic = self.resolve_topic_name(name)  # after -r image:=...
            self.create_subscription(kind, topic, partial(self.write, topic), qos)
            print(f"recording {topic}", flush=True)

    def write(self, topic: str, message: Image | PartMasks) -> None:
        """Add a message, with its time of arrival."""
        self.recorder.write(topic, message, self.get_clock().now().nanoseconds)


if __name__ == "__main__":
    arguments = remove_ros_args(sys.argv)[1:]
    if not arguments:
        sys.exit("give the folder of the recording: python examples/record_masks.py kitchen")
    if Path(arguments[0]).exists():
        sys.exit(f"{arguments[0]} exists already; give another folder")
    rclpy.init()
    with (
        Recorder(Path(arguments[0])) as recorder,
        suppress(KeyboardInterrupt, ExternalShutdownException),
    ):
        rclpy.spin(MaskRecorder(recorder, arguments[1:]))
