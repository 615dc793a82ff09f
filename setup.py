"""The metadata is in pyproject.toml."""

from glob import glob

from setuptools import setup

setup(data_files=[("share/ovps_ros/msg", sorted(glob("msg/*.msg")))])
