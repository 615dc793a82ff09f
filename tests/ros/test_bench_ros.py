"""`ovps bench ros` prints what the node adds to the model's time of each frame."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("ovps_ros.msg", reason="the ROS messages are not built")

from ovps_core.cli import main
from ovps_ros.tools.bench import Timing, table

pytestmark = pytest.mark.ros
OVERHEADS = ("overhead in the node", "overhead with DDS")


def percentiles(text: str, row: str) -> list[float]:
    """The three numbers of a row of the printed table."""
    (line,) = [line for line in text.splitlines() if row in line]
    return [float(word) for word in line.split()[-3:]]


def test_the_overhead_is_that_of_each_frame() -> None:
    model = np.linspace(20.0, 120.0, 101)
    adds = np.where(np.arange(101) < 3, 30.0, 4.0)  # to its fastest frames
    half = Timing(101, model + adds + 2, model, model + adds)
    text = table(model, half, half, 30.0)
    assert percentiles(text, OVERHEADS[0]) == [4, 4, 30]
    assert percentiles(text, OVERHEADS[1]) == [6, 6, 32]
    assert percentiles(text, "half load: model") == [70, 115, 119]


@pytest.mark.slow
@pytest.mark.timeout(900)  # a busy machine starts the node slowly
@pytest.mark.usefixtures("own_ros_domain")
def test_the_node_is_measured_over_dds(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "ros", "--seconds", "2"]) == 0
    text = capsys.readouterr().out
    inside, outside = (percentiles(text, row) for row in OVERHEADS)
    assert 0 < inside[0] < outside[0]
    assert inside == sorted(inside) and outside == sorted(outside)
