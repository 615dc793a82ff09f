"""`rosdep install` resolves every dependency of package.xml, and the node's Python packages are all named."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest
from helpers.paths import ROOT, TESTS

tomllib = pytest.importorskip("tomllib", reason="Python 3.11 or newer")
NAMES = {
    line
    for line in (TESTS / "data/rosdep_names.txt").read_text().splitlines()
    if not line.startswith("#")
}
KEYS = {
    "numpy": "python3-numpy",
    "opencv-python": "python3-opencv",
    "pillow": "python3-pil",
    "pyyaml": "python3-yaml",
    "scipy": "python3-scipy",
    "tabulate": "python3-tabulate",
    "tqdm": "python3-tqdm",
}
PIP_ONLY = {"onnxruntime", "pycocotools", "safetensors"}  # no key of a Debian package


def dependencies() -> set[str]:
    """Names of package.xml."""
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    return {str(each.text) for each in package if each.tag.endswith("depend")}


def python_packages() -> set[str]:
    """Distributions that `pip install ovps` brings."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return {re.split(r"[<>=\[; ]", line)[0] for line in project["dependencies"]}


def test_rosdep_has_every_key() -> None:
    assert dependencies() <= NAMES, sorted(dependencies() - NAMES)


def test_every_python_package_has_its_key_or_is_in_the_pip_line() -> None:
    packages = python_packages()
    assert packages == set(KEYS) | PIP_ONLY
    assert {KEYS[name] for name in packages - PIP_ONLY} <= dependencies()
    page = (ROOT / "docs/robot.md").read_text()
    assert all(name in page for name in PIP_ONLY)


@pytest.mark.parametrize("name", sorted(PIP_ONLY))
def test_what_is_in_the_pip_line_has_no_key_of_a_debian_package(name: str) -> None:
    assert f"python3-{name}" not in NAMES
