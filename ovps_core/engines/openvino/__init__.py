"""OpenVINO engine: float, bf16 and quantised graphs."""
