"""A runtime that is installed but cannot be loaded: auto takes the next, a request has the loader's message."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest
from helpers.toy_models import toy

from ovps_core.engines import make_engine, select
from ovps_core.engines.select import _default_backend
from ovps_core.engines.tensorrt import build
from ovps_core.errors import BackendError, MissingDependencyError

MISSES = "libcudart.so.13: cannot open shared object file"


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Install a package whose import fails with the given line, before the one that is there."""

    def install(name: str, line: str = f"raise ImportError({MISSES!r})") -> None:
        for each in [each for each in sys.modules if each.split(".")[0] == name]:
            monkeypatch.delitem(sys.modules, each)
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(line)
        monkeypatch.syspath_prepend(tmp_path)

    return install


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch):
    """Return the log, with a logger of its own, since libraries may leave ours disabled."""
    logger = logging.getLogger(__name__)
    monkeypatch.setattr(select, "log", logger)
    caplog.set_level(logging.WARNING, logger=logger.name)
    return caplog


@pytest.mark.parametrize(
    "line",
    [
        f"raise ImportError({MISSES!r})",
        f"raise OSError({MISSES!r})",
        "import libcudart_so_13",  # a ModuleNotFoundError, but of another package
    ],
)
def test_a_broken_tensorrt_is_not_called_missing(broken, monkeypatch, said, line: str) -> None:
    monkeypatch.setattr(build, "RUNTIMES", ("tensorrt",))
    broken("tensorrt", line)
    with pytest.raises(BackendError, match=r"tensorrt is installed, but .*libcudart") as caught:
        build.require_tensorrt()
    assert caught.value.__cause__ is not None
    backend, _ = _default_backend("cuda:0", "auto", has_graphs=False)
    assert backend in ("compiled", "torch") and "libcudart" in said.text


def test_another_tensorrt_that_loads_is_taken(broken, monkeypatch) -> None:
    broken("tensorrt")
    broken("tensorrt_rtx", "")
    assert build.require_tensorrt().__name__ == "tensorrt_rtx"
    monkeypatch.setattr(build, "RUNTIMES", ("no_such_tensorrt",))
    with pytest.raises(MissingDependencyError, match="no TensorRT is installed"):
        build.require_tensorrt()


def test_without_a_runtime_that_loads_pytorch_runs(broken, said) -> None:
    model = toy("compact").model
    broken("openvino")
    broken("onnxruntime")
    engine = make_engine(model, device="cpu")
    assert engine.name == "torch" and said.text.count("cannot open shared object file") == 2
    for backend in ("openvino", "onnxruntime"):
        with pytest.raises(BackendError, match=rf"{backend} is installed, but .*libcudart"):
            make_engine(model, backend=backend, device="cpu")
