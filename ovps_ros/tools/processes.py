"""Processes of nodes over DDS: start them, restrict them to this machine, end them.

Launch files start the node on a robot. The demo, the benchmark and the tests use this module, because ROS from
wheels has no `launch`.
"""

from __future__ import annotations

import os
import random
import shlex
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

from ovps_ros.dds_profiles import FASTDDS, FASTDDS_VARIABLES, profile_path

_END_TIMEOUT = 20.0  # seconds that a program may take to end after SIGINT


def isolate_ros_domain() -> int:
    """Restrict ROS to this machine and, unless a domain is set, to a random domain.

    Call it before rclpy is initialised.

    Returns:
        The domain.
    """
    os.environ.setdefault("ROS_DOMAIN_ID", str(random.SystemRandom().randint(1, 100)))
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    profile = profile_path(FASTDDS)
    if profile is not None:
        for variable in FASTDDS_VARIABLES:
            os.environ.setdefault(variable, str(profile))
    return int(os.environ["ROS_DOMAIN_ID"])


class NodeProcesses:
    """Programs of this package that run while the ``with`` block does.

    ::

        with NodeProcesses() as processes:
            processes.start("ovps_ros.node", parameters={"model": "ovps-tiny"})
    """

    def __init__(self) -> None:
        self._running: dict[subprocess.Popen[bytes], str] = {}  # with the command line

    def start(
        self,
        module: str,
        parameters: dict[str, object] | None = None,
        arguments: Sequence[str] = (),
    ) -> subprocess.Popen[bytes]:
        """Start ``python -m module``.

        Args:
            module: name of the module.
            parameters: ROS parameters.
            arguments: more ROS arguments, such as ``["-r", "__node:=left"]``.
        """
        ros = [
            word for name, value in (parameters or {}).items() for word in _argument(name, value)
        ]
        command = [sys.executable, "-m", module, "--ros-args", *ros, *arguments]
        here = str(Path(__file__).parents[2])
        search = os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH", "")]))
        process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": search})
        self._running[process] = shlex.join(command)
        return process

    def ended(self) -> list[str]:
        """Command lines of programs that ended by themselves."""
        return [line for process, line in self._running.items() if process.poll() is not None]

    def stop(self, process: subprocess.Popen[bytes]) -> int:
        """End a program by SIGINT, as Ctrl-C does, or kill it if it does not end.

        Returns:
            The exit code.
        """
        del self._running[process]
        process.send_signal(signal.SIGINT)
        try:
            return process.wait(timeout=_END_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def __enter__(self) -> NodeProcesses:
        """Start with no program."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End all programs."""
        for process in list(self._running):
            self.stop(process)


def _argument(name: str, value: object) -> list[str]:
    if isinstance(value, bool):
        value = str(value).lower()
    elif isinstance(value, list):
        value = "[" + ", ".join(f"'{item}'" for item in value) + "]"
    elif value == "":
        value = "''"
    return ["-p", f"{name}:={value}"]
