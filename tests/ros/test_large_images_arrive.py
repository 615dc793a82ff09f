"""Large images arrive in another process over best effort, with the packaged Fast DDS profile."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")

from helpers.robot import Robot
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from ovps_ros.messages import message_encoder

pytestmark = pytest.mark.ros
SENT = 30
QOS = QoSProfile(depth=2 * SENT, reliability=ReliabilityPolicy.BEST_EFFORT)
LISTENER = """
import time, rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
rclpy.init()
qos = QoSProfile(depth=60, reliability=ReliabilityPolicy.BEST_EFFORT)  # a busy listener drops none
node, seen, end = rclpy.create_node("listener"), [], time.monotonic() + 60
node.create_subscription(Image, "/large/image", seen.append, qos)
while time.monotonic() < end and not (seen and seen[-1].header.frame_id == "last"):
    rclpy.spin_once(node, timeout_sec=0.1)
print(len(seen))
"""


def test_images_of_a_megabyte_cross_processes() -> None:
    robot = Robot("large_images")
    images = robot.node.create_publisher(Image, "/large/image", QOS)
    listener = subprocess.Popen([sys.executable, "-c", LISTENER], stdout=subprocess.PIPE, text=True)
    robot.spin_until(lambda: images.get_subscription_count() == 1, 60.0)
    robot.rest(0.5)
    message = message_encoder.image(np.zeros((480, 640, 3), np.uint8), robot.header())
    for _ in range(SENT):
        images.publish(message)
        robot.rest(0.05)
    message.header.frame_id = "last"
    while listener.poll() is None:
        images.publish(message)
        robot.rest(0.2)
    robot.close()
    assert int(listener.communicate()[0]) >= SENT
