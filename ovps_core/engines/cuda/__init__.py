"""Preprocessing and postprocessing on a CUDA device."""
