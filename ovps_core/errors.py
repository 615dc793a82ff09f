"""The errors a person has to act on; every one says what was given, what was expected, what to do."""

from __future__ import annotations


class OvpsError(Exception):
    """Base of all errors that OVPS raises on purpose."""


class QueryError(OvpsError, ValueError):
    """A text cannot be read as a query; the message quotes the text."""


class ImageError(OvpsError, ValueError):
    """An image array or file cannot be used; the message names its shape, dtype or path."""


class CheckpointError(OvpsError):
    """Weights are missing, damaged or of another model; the message lists the first wrong keys."""


class DatasetError(OvpsError):
    """A data set is missing or half unpacked; the message names the path and how it should look."""


class BackendError(OvpsError):
    """An inference engine is absent or cannot run this model; the message says how to get one."""
