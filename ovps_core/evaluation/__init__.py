"""Measurement of models on benchmarks, on folders of photographs, and on rendered scenes."""
