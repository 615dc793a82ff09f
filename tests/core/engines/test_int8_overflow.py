"""Weights keep half of their int8 range where sums of products would overflow."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovps_core.engines.openvino import quantise


@pytest.mark.parametrize(
    ("machine", "flags", "saturates"),
    [
        ("x86_64", "sse4_2 avx avx2", True),
        ("x86_64", "avx2 avx512f avx512dq avx512cd avx512bw avx512vl", True),  # Skylake-SP
        ("x86_64", "avx2 avx512f avx512_vnni", False),
        ("AMD64", "avx2 avx_vnni", False),
        ("aarch64", "asimd", False),
    ],
)
@pytest.mark.parametrize("limit", [None, "avx2", "default"])
def test_processors_without_vnni_overflow(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    machine: str,
    flags: str,
    saturates: bool,
    limit: str | None,
) -> None:
    if limit:
        monkeypatch.setenv("ATEN_CPU_CAPABILITY", limit)
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nmodel name\t: any\nflags\t\t: fpu {flags}\n")
    monkeypatch.setattr(quantise.platform, "machine", lambda: machine)
    monkeypatch.setattr(quantise, "_CPUINFO", cpuinfo)
    assert quantise.int8_saturates() == saturates
    cpuinfo.unlink()
    assert quantise.int8_saturates() == (machine != "aarch64"), "the safe answer"
