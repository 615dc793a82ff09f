"""Recordings without a ROS installation: rosbag2 files in, data sets or part masks out."""

from __future__ import annotations

from ovps_core.ros_io.bags.annotate import AnnotateOptions, annotate
from ovps_core.ros_io.bags.extract import ExtractOptions, extract
from ovps_core.ros_io.bags.reading import BagTopics

__all__ = ["AnnotateOptions", "BagTopics", "ExtractOptions", "annotate", "extract"]
