"""The page of topics and parameters says what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")


def test_reference() -> None:
    from ovps_ros.reference import reference

    page = Path(__file__).parents[1] / "docs" / "ros_reference.md"
    assert page.read_text() == reference(), (
        "run: python -m ovps_ros.reference > docs/ros_reference.md"
    )
