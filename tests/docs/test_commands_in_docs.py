"""Every `ovps` command of the README and the docs is one that the command line takes; every program exists."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.paths import ROOT

from ovps_core.cli import COMMANDS, parser

PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))


def commands() -> Iterator[tuple[str, str]]:
    """(page, command line) of all code blocks, fenced or indented; continued lines are joined."""
    for page in PAGES:
        text = re.sub(r" *\\\n *", " ", page.read_text("utf-8"))
        lines = text.splitlines()
        for number, line in enumerate(lines):
            fenced = sum(before.startswith("```") for before in lines[:number]) % 2 == 1
            code = line.strip() if fenced or line.startswith("    ") else ""
            code = code.split("&&")[-1].strip()
            if re.match(rf"ovps ({'|'.join(COMMANDS)})\b", code):
                yield page.name, code


@pytest.mark.parametrize(("page", "line"), list(commands()))
def test_command_is_taken(page: str, line: str) -> None:
    words = shlex.split(line.split(" > ")[0], comments=True)[1:]
    try:
        parser(words[0]).parse_args([word for word in words if word != "..."])
    except SystemExit as end:
        pytest.fail(f"{page}: {line}: {end}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_programs_exist(page: Path) -> None:
    named = set(
        re.findall(r"python -m ((?:training|ovps_ros|ovps_core)[\w.]*\w)", page.read_text("utf-8"))
    )
    assert [name for name in sorted(named) if importlib.util.find_spec(name) is None] == []
