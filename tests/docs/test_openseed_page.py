"""The Python lines of the page on OpenSeeD run, with a small network in place of the published one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers.paths import ROOT
from helpers.toy_models import write_toy

from ovps_core import ObjectSegmenter

LINES = "\n".join(
    re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "openseed.md").read_text("utf-8"), re.S)
)


def test_the_python_examples_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys) -> None:
    small = ObjectSegmenter.from_pretrained(write_toy("openseed", tmp_path / "toy.safetensors"))
    monkeypatch.setattr(ObjectSegmenter, "from_pretrained", lambda name: small)
    monkeypatch.setattr(
        ObjectSegmenter.detect, "__kwdefaults__", {"score_threshold": 0.0, "max_objects": 3}
    )
    (tmp_path / "desk.jpg").write_bytes((ROOT / "docs" / "images" / "table.jpg").read_bytes())
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    exec(compile(LINES, "openseed.md", "exec"), names)
    lines = capsys.readouterr().out.splitlines()
    assert lines and all(line.split()[0] in ("knife", "mug") for line in lines)
    assert "found" in names
