"""Synthetic scenes with exact part masks: parametric objects, rendered by MuJoCo on a CPU."""
