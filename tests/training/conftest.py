"""Fixtures of the training tests."""

from helpers.mug_pictures import mugs

__all__ = ["mugs"]
