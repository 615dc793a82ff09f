"""Parametric object classes, one file per kind."""
