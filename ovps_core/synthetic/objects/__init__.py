"""Parametric object classes, a file per kind."""
