"""A cached engine is found again only while the same weights still give the same graph."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from helpers.paths import TESTS
from helpers.toy_models import TOY_MODELS

from ovps_core.engines.engine_cache import GRAPH_VERSION, model_key
from ovps_core.engines.subgraphs import export_onnx

pytest.importorskip("onnxscript", reason="pip install 'ovps[onnx]'")
import onnx

RECORDED = TESTS / "data/exported_graphs.json"


def exported(kind: str, folder: Path) -> dict[str, str]:
    """Digests of the graphs of a model family."""
    model = TOY_MODELS[kind]()
    digests = {}
    for subgraph in model.spec.subgraphs:
        export_onnx(model, folder / "graph.onnx", subgraph=subgraph)
        digests[f"{kind} {subgraph}"] = graph_digest(folder / "graph.onnx")
    return digests


def graph_digest(path: Path) -> str:
    """Digest of the structure of the ONNX graph at ``path``, without the values of its weights.

    Names of nodes and values are left out, since exporters number them freely. Scalars are constants of the code,
    not weights, so their values are included.
    """
    model = onnx.load(str(path))
    place = {value.name: f"in{i}" for i, value in enumerate(model.graph.input)}
    lines = [f"{opset.domain} {opset.version}" for opset in model.opset_import]
    for tensor in model.graph.initializer:
        array = onnx.numpy_helper.to_array(tensor)
        value = array.tobytes().hex() if array.ndim == 0 else ""
        place[tensor.name] = f"{array.dtype}{array.shape}{value}"
    for i, node in enumerate(model.graph.node):
        attributes = sorted(
            f"{a.name}={onnx.helper.get_attribute_value(a)}" for a in node.attribute
        )
        read = [place.get(name, "") for name in node.input]
        place |= {name: f"{i}.{j}" for j, name in enumerate(node.output)}
        lines.append(f"{node.op_type} {read} {attributes}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "kind", [pytest.param(k, marks=pytest.mark.slow if k == "openseed" else ()) for k in TOY_MODELS]
)
def test_an_exported_graph_that_changes_raises_the_graph_version(kind: str, tmp_path: Path) -> None:
    recorded = json.loads(RECORDED.read_text())
    if recorded["torch"] != torch.__version__:
        pytest.skip(f"graphs were recorded with torch {recorded['torch']}, not {torch.__version__}")
    of_kind = {name: d for name, d in recorded["graphs"].items() if name.split()[0] == kind}
    assert (exported(kind, tmp_path), GRAPH_VERSION) == (of_kind, recorded["version"]), (
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
        graphs = {}
        for each in TOY_MODELS:
            graphs |= exported(each, Path(scratch))
    values = {"torch": torch.__version__, "version": GRAPH_VERSION, "graphs": graphs}
    RECORDED.write_text(json.dumps(values, indent=1) + "\n")
