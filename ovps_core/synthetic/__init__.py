"""Rendered scenes with exact part masks: parametric objects, MuJoCo pictures, training folders."""
