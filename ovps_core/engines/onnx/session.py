"""Sessions of ONNX Runtime; this module needs no PyTorch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ovps_core.structures.requirements import load_runtime


def session(path: Path) -> Any:
    """An ``onnxruntime.InferenceSession`` of a file, on all cores that this process may use.

    Raises:
        MissingDependencyError: ONNX Runtime is not installed; the message has the line that installs it.
        BackendError: it cannot be loaded.
    """
    onnxruntime = load_runtime("onnxruntime", extra="onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    options.log_severity_level = 3
    # Threads that spin between frames take the cores from the rest of a robot.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
