"""Shared fixtures: recorded outputs of the originals, and a robot beside a running node."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from helpers.paths import FIXTURES

if TYPE_CHECKING:
    from helpers.robot import Robot


def pytest_configure() -> None:
    """Choose the ROS domain of this process; workers of pytest-xdist inherit one and have every second each."""
    domain = int(os.environ.setdefault("ROS_DOMAIN_ID", str(random.SystemRandom().randint(1, 100))))
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    os.environ["ROS_DOMAIN_ID"] = str((domain - 1 + 2 * int(worker)) % 100 + 1)


@pytest.fixture(scope="session", autouse=True)
def scratch_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is kept in the user's own cache, and nothing is found there.

    The cache is that of the whole run, so that an engine of the same toy weights is built once for all workers.
    """
    run = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        run = run.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OVPS_CACHE", str(run / "cache"))
        yield


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """Inputs, weights and outputs of the original implementations."""
    return FIXTURES


@pytest.fixture(scope="session")
def toy_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of a small real network."""
    from helpers.toy_models import write_toy  # needs PyTorch, which a robot may lack

    return write_toy("partclipseg", tmp_path_factory.mktemp("weights") / "small.safetensors")


@pytest.fixture(scope="module")
def own_ros_domain() -> Iterator[None]:
    """A ROS domain in which neither the session's robot nor its node is heard."""
    from ovps_ros.tools.processes import isolate_ros_domain

    shared = isolate_ros_domain()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROS_DOMAIN_ID", str(shared % 100 + 1))
        yield


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
