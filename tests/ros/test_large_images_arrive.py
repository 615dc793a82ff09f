"""Large images arrive in another process over best effort, with the packaged Fast DDS profile."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")

from helpers.robot import Robot
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from ovps_ros.messages import message_encoder

pytestmark = pytest.mark.ros
SENT = 30
QOS = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
LISTENER = """
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
rclpy.init()
qos = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
node = rclpy.create_node("listener")
def name_it(image):
    print(image.header.frame_id, flush=True)
node.create_subscription(Image, "/large/image", name_it, qos)
rclpy.spin(node)
"""


def test_images_of_a_megabyte_cross_processes() -> None:
    """Each image is sent once, and the next one when it has arrived: a slow listener loses none."""
    robot = Robot("large_images")
    images = robot.node.create_publisher(Image, "/large/image", QOS)
    listener = subprocess.Popen([sys.executable, "-c", LISTENER], stdout=subprocess.PIPE, text=True)
    arrived: queue.Queue[str] = queue.Queue()
    reader = threading.Thread(
        target=lambda: [arrived.put(line.strip()) for line in listener.stdout]
    )
    reader.start()
    message = message_encoder.image(np.zeros((480, 640, 3), np.uint8), robot.header())
    try:
        robot.spin_until(lambda: images.get_subscription_count() == 1, 60.0)
        message.header.frame_id = "first"
        end = time.monotonic() + 60.0
        while arrived.empty() and time.monotonic() < end:  # until the listener has matched as well
            images.publish(message)
            robot.rest(0.2)
        for number in range(SENT):
            message.header.frame_id = str(number)
            images.publish(message)
            robot.spin_until(lambda sent=str(number): sent in drained(arrived), 20.0)
    finally:
        listener.kill()
        reader.join()
        robot.close()


def drained(lines: queue.Queue[str]) -> list[str]:
    """All lines that have come since the last call."""
    return [lines.get() for _ in range(lines.qsize())]
