"""An engine is prepared while no other thread uses it, and TensorRT's key does not build the network."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from ovps_core.checkpoints import open_model
from ovps_core.checkpoints.registry import DEFAULT_MODEL
from ovps_core.engines.exported import ExportedEngine
from ovps_core.engines.interface import Engine, EngineShape
from ovps_core.engines.onnx.runtime import OnnxRuntimeEngine
from ovps_core.engines.openvino.runtime import OpenVinoEngine
from ovps_core.engines.tensorrt.build import Profile
from ovps_core.engines.tensorrt.runtime import TensorRtEngine


def bare(kind: type[Engine], **attributes: Any) -> Any:
    """An engine without a runtime."""
    engine = kind.__new__(kind)
    Engine.__init__(engine)
    for name, value in attributes.items():
        setattr(engine, name, value)
    return engine


@pytest.mark.parametrize("kind", [OnnxRuntimeEngine, OpenVinoEngine, ExportedEngine])
def test_graphs_load_and_run_only_in_the_engines_turn(
    kind: type[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = bare(kind, _spec=SimpleNamespace(subgraphs=("encoder",)))
    used: list[bool] = []
    for step in ("_graph", "encode"):
        monkeypatch.setattr(
            engine, step, lambda *_: used.append(engine._turn.locked()), raising=False
        )
    busy = threading.Thread(target=engine.prepare, args=[EngineShape(1, (32, 32))])
    with engine._turn:
        busy.start()
        busy.join(0.2)
        assert busy.is_alive() and not used
    busy.join(10)
    assert not busy.is_alive() and used and all(used)


def test_the_key_of_tensorrts_plans_does_not_build_the_network() -> None:
    source = open_model(DEFAULT_MODEL)
    engine = bare(
        TensorRtEngine,
        _source=source,
        precision="fp16",
        _profile=Profile(),
        _runtime="tensorrt 10",
        _gpu="GPU 8.9",
    )
    assert engine._key((320, 320))["size"] == "320x320"
    assert "loaded" not in vars(source)
