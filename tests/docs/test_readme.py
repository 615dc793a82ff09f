"""The Python lines of the README run."""

from __future__ import annotations

import functools
import re

import pytest
from helpers.paths import ROOT

from ovps_core import PartSegmenter


def test_python_example(
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
