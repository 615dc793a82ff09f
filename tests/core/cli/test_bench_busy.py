"""`ovps bench busy` compares frames on a quiet machine with frames beside a busy process."""

from __future__ import annotations

import pytest

from ovps_core.cli import main


def test_the_table_has_both_and_their_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "busy", "--frames", "10", "--engines", "onnxruntime"]) == 0
    header, _, row = capsys.readouterr().out.strip().splitlines()
    assert "p95 busy / quiet" in header
    engine, *numbers = row.split()
    quiet, ratio = float(numbers[1]), float(numbers[-1])
    assert engine == "onnxruntime" and quiet > 0
    assert ratio == pytest.approx(float(numbers[3]) / quiet, rel=0.02)
