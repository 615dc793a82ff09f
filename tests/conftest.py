"""Shared fixtures: recorded outputs of the originals, and a robot beside a running node."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from helpers.paths import FIXTURES
from helpers.toy_models import write_toy

if TYPE_CHECKING:
    from helpers.robot import Robot


@pytest.fixture(scope="session", autouse=True)
def scratch_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is kept in the user's own cache, and nothing is found there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OVPS_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """Inputs, weights and outputs of the original implementations."""
    return FIXTURES


@pytest.fixture(scope="session")
def toy_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of a small real network."""
    return write_toy("partclipseg", tmp_path_factory.mktemp("weights") / "small.safetensors")


@pytest.fixture(scope="session")
def robot(toy_weights: Path) -> Iterator[Robot]:
    """A robot beside a running node with depth."""
    from helpers.robot import NODE_STARTS, Robot

    from ovps_ros.tools.processes import NodeProcesses

    thresholds = {"score_threshold": 0.0, "mask_threshold": 0.495, "min_depth_coverage": 0.05}
    with NodeProcesses() as programs:
        process = programs.start(
            "ovps_ros.node",
            {"model": str(toy_weights), "use_depth": True, "max_age": 5.0, **thresholds},
        )
        robot = Robot()
        robot.spin_until(lambda: robot.images.get_subscription_count(), NODE_STARTS)
        yield robot
        robot.close()
        assert programs.stop(process) == 0
