"""Built TensorRT engines on disk: keyed by all they depend on, verified, rebuilt when in doubt."""

from __future__ import annotations

import functools
import json
import logging
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from ovps_core.engines.engine_cache import EngineCache, model_key
from ovps_core.engines.subgraphs import SUBGRAPHS, export_onnx
from ovps_core.engines.tensorrt.build import Profile, build_plan
from ovps_core.models.interface import PartModel

log = logging.getLogger(__name__)


def plan_key(
    model: PartModel,
    *,
    size: tuple[int, int],
    precision: str,
    profile: Profile,
    runtime: str,
    gpu: str,
) -> dict[str, str]:
    """Everything a plan depends on.

    Args:
        runtime: TensorRT's name and version.
        gpu: name and compute capability of the GPU.
    """
    return model_key(model) | {
        "size": f"{size[0]}x{size[1]}",
        "precision": precision,
        "profile": json.dumps(asdict(profile)),
        "runtime": runtime,
        "gpu": gpu,
    }


def plans(
    model: PartModel,
    key: Mapping[str, str],
    *,
    size: tuple[int, int],
    profile: Profile,
    cache: EngineCache,
) -> Path:
    """The folder with ``encode.plan`` and ``decode.plan`` for ``key`` and a report of each build.

    Raises:
        BackendError: the network does not fit TensorRT; the message has the first error.
    """

    def build(folder: Path) -> None:
        with tempfile.TemporaryDirectory() as graphs:
            for half in SUBGRAPHS:
                onnx = Path(graphs) / f"{half}.onnx"
                cache.progress(f"exporting {half} to ONNX")
                export_onnx(model, onnx, precision=key["precision"], part=half, size=size)
                plan, report = build_plan(
                    onnx,
                    profile=profile,
                    timing_cache=cache.folder / timing_cache_name(key),
                    progress=functools.partial(_tell, cache, half),
                )
                (folder / f"{half}.plan").write_bytes(plan)
                (folder / f"{half}.json").write_text(json.dumps(asdict(report), indent=1))
                log.info("%s: %.0f MB in %.0f s", half, report.plan_bytes / 1e6, report.seconds)

    return cache.get("tensorrt", key, build)


def _tell(cache: EngineCache, half: str, phase: str, done: int, steps: int) -> None:
    cache.progress(f"{half}, {phase}: {done} of {steps}")


def timing_cache_name(key: Mapping[str, str]) -> str:
    """Timings belong to a GPU and a version of TensorRT, whatever the model."""
    name = "".join(c if c.isalnum() else "-" for c in f"{key['runtime']} {key['gpu']}")
    return f"timings-{name}.bin"
