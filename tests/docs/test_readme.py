"""The Python lines of the README run, and its table is what the command prints."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest
from helpers.paths import ROOT

from ovps_core import PartSegmenter
from ovps_core.cli import main


def test_the_python_example_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    example = re.search(r"```python\n(.*?)```", readme, re.S)
    assert example
    load = functools.partial(PartSegmenter.from_pretrained, backend="torch")  # builds no engine
    monkeypatch.setattr(PartSegmenter, "from_pretrained", load)
    monkeypatch.chdir(ROOT)
    exec(compile(example[1], "README.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("knife handle") for line in lines)
    assert any(line.startswith("rim of the mug") for line in lines)


def test_the_table_is_what_ovps_segment_prints(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The README shows what its first `ovps segment` prints; engines differ in a pixel or two."""
    readme = (ROOT / "README.md").read_text("utf-8")
    words = ["segment", str(ROOT / "docs/images/table.jpg"), "knife handle", "mug handle"]
    assert " ".join(words[2:]) in readme.replace('"', "")
    assert main([*words, "-o", str(tmp_path / "table.png"), "--backend", "torch"]) == 0
    printed, shown = rows(capsys.readouterr().out), rows(readme)
    assert [name for name, _ in printed] == [name for name, _ in shown]
    for (_, numbers), (_, expected) in zip(printed, shown, strict=True):
        assert numbers == pytest.approx(expected, rel=0.02, abs=0.02)


def rows(text: str) -> list[tuple[str, list[float]]]:
    """Lines of a table of parts in a text: (query, numbers)."""
    found = re.findall(r"^(\w+ handle) +((?:[\d.]+ *){6})$", text, re.MULTILINE)
    return [(name, [float(number) for number in numbers.split()]) for name, numbers in found]
