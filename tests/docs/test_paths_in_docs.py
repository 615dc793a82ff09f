"""Paths, links, module names and commands in the documentation exist."""

from __future__ import annotations

import argparse
import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.paths import ROOT

from ovps_core import cli

PAGES = sorted(
    [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / "docs" / "notebook").glob("*.md"),
    ]
)
PACKAGES = ("ovps_core", "ovps_ros", "training")
FOLDERS = (
    *PACKAGES,
    *("tests", "docs", "config", "launch", "msg", "srv", "action", "scripts", "cmake", ".ci"),
    "examples",
)
GENERATED = re.compile(r"ovps_ros[./](?:(?:msg|srv|action)[./]?)?(?:[A-Z]\w*)?$")
"""Names of ROS types, "ovps_ros/srv/SetQueries": their Python is generated from msg/, srv/ and action/."""


@pytest.fixture(params=PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def page(request: pytest.FixtureRequest) -> Path:
    return request.param  # type: ignore[no-any-return]


def fenced(text: str) -> list[tuple[str, str]]:
    """(language, code) of every fenced block."""
    return re.findall(r"^```(\w*)\n(.*?)^```", text, re.S | re.M)


def prose(text: str) -> str:
    """The page without its fenced blocks."""
    return re.sub(r"^```.*?^```", "", text, flags=re.S | re.M)


def spans(text: str) -> list[str]:
    """Every inline code span, on one line."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose(text))]


def indented(text: str) -> list[str]:
    """Every line of an indented block."""
    return re.findall(r"^ {4,}(\S.*)$", prose(text), re.M)


def code(text: str) -> list[str]:
    """Every inline code span, fenced block and indented line."""
    return [*spans(text), *(block for _, block in fenced(text)), *indented(text)]


def commands(text: str) -> Iterator[str]:
    """Calls of ``ovps``, without redirection and comment; a backslash joins lines."""
    text = re.sub(r" *\\\n *", " ", text)
    blocks = [
        line for language, block in fenced(text) if not language for line in block.splitlines()
    ]
    with_arguments = [span for span in spans(text) if re.match(r"ovps [a-z]+ \S", span)]
    for line in [*with_arguments, *blocks, *indented(text)]:
        command = re.split(r" [>#] ", line.split("&& ")[-1])[0].strip()
        if re.match(r"ovps [a-z]", command) and not re.search(r"\.\.\.|\||\bDST\b|--help", command):
            yield command


def test_paths_on_every_page_exist(page: Path) -> None:
    missing = []
    for span in code(page.read_text("utf-8")):
        for word in re.split(r"[\s'\"()=,;]+", span):
            path = word.split("::")[0].rstrip(".:")
            if path.split("/")[0] not in FOLDERS or "/" not in path or GENERATED.match(path):
                continue
            if re.search(r"[<>{}]|/[A-Z]{3,}(?:/|$)", path):  # a placeholder, training/config/NAME
                continue
            found = any(ROOT.glob(path)) if "*" in path else (ROOT / path).exists()
            if not found:
                missing.append(path)
    assert not missing


def test_relative_links_resolve(page: Path) -> None:
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        if not file.exists() or (anchor and anchor not in anchors(file)):
            broken.append(target)
    assert not broken


def anchors(file: Path) -> set[str]:
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


def test_module_names_exist(page: Path) -> None:
    missing = []
    for span in code(page.read_text("utf-8")):
        for name in re.findall(rf"(?<![\w./])((?:{'|'.join(PACKAGES)})(?:\.\w+)+)", span):
            if not GENERATED.match(name) and not defined(name):
                missing.append(name)
    assert not missing


def defined(dotted: str) -> bool:
    """Return True if ``package.module`` or ``package.module.name`` exists; nothing is imported."""
    names = dotted.split(".")
    base = ROOT / Path(*names)
    if base.is_dir() or base.with_suffix(".py").is_file():
        return True
    module = ROOT / Path(*names[:-1])
    file = module / "__init__.py" if module.is_dir() else module.with_suffix(".py")
    return file.is_file() and re.search(rf"\b{names[-1]}\b", file.read_text("utf-8")) is not None


def test_imports_in_examples_exist(page: Path) -> None:
    missing = []
    for language, block in fenced(page.read_text("utf-8")):
        if language != "python":
            continue
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in PACKAGES:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
                missing += [name for name in names if not defined(name)]
    assert not missing


def test_commands_on_every_page_are_understood(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(parser: argparse.ArgumentParser, message: str) -> None:
        raise ValueError(f"{parser.prog}: {message}")

    monkeypatch.setattr(argparse.ArgumentParser, "error", refuse)
    for line in commands(page.read_text("utf-8")):
        words = shlex.split(line)[1:]
        if words[:2] != ["bench", "ros"]:  # comes with the ROS package
            cli.parser(words[0]).parse_args(words)


def test_python_version_is_the_packages() -> None:
    required = re.search(
        r"requires-python = \">=(3\.\d+)\"", (ROOT / "pyproject.toml").read_text("utf-8")
    )
    readme = (ROOT / "README.md").read_text("utf-8")
    assert required and f"Python {required[1]} or newer" in readme
