"""Rendered scenes with exact part masks: parametric objects, drawn by MuJoCo on a CPU."""
