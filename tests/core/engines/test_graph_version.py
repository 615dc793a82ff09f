"""A cached engine is found again only while the same weights still give the same graph."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from helpers.paths import TESTS
from helpers.toy_models import TOY_MODELS

from ovps_core.engines.engine_cache import model_key
from ovps_core.engines.subgraphs import GRAPH_VERSION, export_onnx, graph_digest

pytest.importorskip("onnxscript", reason="pip install 'ovps[onnx]'")
RECORDED = TESTS / "data/exported_graphs.json"


def exported(folder: Path) -> dict[str, str]:
    """Digests of the graphs of every model family."""
    digests = {}
    for kind, build in TOY_MODELS.items():
        model = build()
        for subgraph in model.spec.subgraphs:
            export_onnx(model, folder / "graph.onnx", subgraph=subgraph)
            digests[f"{kind} {subgraph}"] = graph_digest(folder / "graph.onnx")
    return digests


def test_an_exported_graph_that_changes_raises_the_graph_version(tmp_path: Path) -> None:
    recorded = json.loads(RECORDED.read_text())
    if recorded["torch"] != torch.__version__:
        pytest.skip(f"graphs were recorded with torch {recorded['torch']}, not {torch.__version__}")
    found = {"torch": torch.__version__, "version": GRAPH_VERSION, "graphs": exported(tmp_path)}
    assert found == recorded, (
        "the exported graphs changed: raise GRAPH_VERSION, so that engines built before are not used again, "
        f"and record the new digests: `PYTHONPATH=.:tests python {Path(__file__)}`"
    )


@pytest.mark.parametrize("kind", TOY_MODELS)
def test_a_key_depends_on_weights_and_configuration(kind: str) -> None:
    model, other = TOY_MODELS[kind](), TOY_MODELS[kind]()
    assert model_key(model) == model_key(other)
    name = next(name for name in other.state_dict() if not name.startswith("text."))
    with torch.no_grad():
        other.state_dict()[name].add_(1)
    assert model_key(model)["weights"] != model_key(other)["weights"]


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        graphs = exported(Path(scratch))
    values = {"torch": torch.__version__, "version": GRAPH_VERSION, "graphs": graphs}
    RECORDED.write_text(json.dumps(values, indent=1) + "\n")
