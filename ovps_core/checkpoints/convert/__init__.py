"""Conversion of other projects' weights into OVPS files."""

from ovps_core.checkpoints.convert.convert_file import convert

__all__ = ["convert"]
