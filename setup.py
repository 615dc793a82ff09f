"""pip's build of the ROS messages; the metadata is in pyproject.toml, colcon reads CMakeLists.txt."""

import os
import shutil
import subprocess
import sys
from glob import glob
from pathlib import Path

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

HERE = Path(__file__).resolve().parent
SOURCES = {
    *("CMakeLists.txt", "LICENSE", "package.xml", "msg", "srv", "action", "cmake"),
    *("config", "launch", "ovps_core", "ovps_ros", "scripts"),
}
SHARED = (".so", ".msg", ".srv", ".action", ".idl", ".json", ".xml", ".py", ".yaml", ".rviz")


def ros_prefix():
    """The prefix of ROS wheels that hold the rosidl generators, or None.

    A ROS installation, which has a setup.bash to source, builds the messages with colcon: pip then installs the
    library alone.
    """
    prefixes = [Path(sys.prefix)]
    prefixes += [Path(path).parents[2] for path in sys.path if path.endswith("-packages")]
    found = (p for p in prefixes if (p / "share/rosidl_default_generators").is_dir())
    return next((str(p) for p in found if not (p / "setup.bash").exists()), None)


def _not_a_source(folder, names):
    """Names in a checkout that CMake does not need, for ``shutil.copytree``."""
    return set(names) - SOURCES if Path(folder) == HERE else {"__pycache__"}


class BuildWithMessages(build_py):
    """Generate and compile msg/, srv/ and action/ with CMake, then add them to the wheel."""

    def run(self):
        super().run()
        prefix = ros_prefix()
        if prefix is None or self.editable_mode:
            self.announce("no rosidl, or an editable install: no ROS messages are built", level=3)
            return
        temp = Path(self.get_finalized_command("build").build_temp).resolve()
        # a folder for each ROS: CMake would go on with the generators it found first
        work = temp / Path(prefix).resolve().relative_to("/")
        source, stage = work / "source", work / "stage"
        # CMake exports no header path that lies in its source folder, as a .venv in a checkout does
        shutil.copytree(HERE, source, ignore=_not_a_source, dirs_exist_ok=True)
        # pip's build isolation hides the ROS wheels behind PYTHONPATH
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        env.update(AMENT_PREFIX_PATH=prefix, CMAKE_PREFIX_PATH=prefix)
        env["LD_LIBRARY_PATH"] = os.pathsep.join([f"{prefix}/lib", env.get("LD_LIBRARY_PATH", "")])
        configure = [
            *("cmake", "-S", source, "-B", work / "cmake", "-DBUILD_TESTING=OFF"),
            f"-DCMAKE_INSTALL_PREFIX={stage}",
            f"-DPython3_EXECUTABLE={sys.executable}",
            f"-DCMAKE_PROJECT_INCLUDE={source}/cmake/drop_missing_includes.cmake",
        ]
        subprocess.run(configure, check=True, env=env)
        jobs = str(os.cpu_count() or 1)  # a bare -j starts every compiler at once
        build = ["cmake", "--build", work / "cmake", "--target", "install", "-j", jobs]
        subprocess.run(build, check=True, env=env)
        self.add_staged(stage)

    def add_staged(self, stage):
        """Generated Python goes into the package, libraries and shares beside it."""
        site = next(stage.glob("lib/python3*/*-packages"))
        shutil.copytree(
            site / "ovps_ros",
            Path(self.build_lib) / "ovps_ros",
            dirs_exist_ok=True,
            ignore=shutil.ignore_patterns("__pycache__", "*.c"),
        )
        files = [p for p in stage.rglob("*") if p.is_file() and site not in p.parents]
        self.distribution.data_files += [
            (str(p.parent.relative_to(stage)), [str(p)])
            for p in files
            if p.suffix in SHARED or "ament_index" in p.parts or p.parent == stage / "lib/ovps_ros"
        ]


class BinaryDistribution(Distribution):
    """With messages the wheel holds compiled code."""

    def has_ext_modules(self):
        return ros_prefix() is not None


# recordings are read and written by these also where nothing of ROS is installed
DEFINITIONS = [("share/ovps_ros/msg", sorted(glob("msg/*.msg")))]

setup(
    data_files=DEFINITIONS, cmdclass={"build_py": BuildWithMessages}, distclass=BinaryDistribution
)
