"""Exceptions of OVPS. Each message names what was given, what was expected and what to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class OvpsError(Exception):
    """Base of all errors that OVPS raises on purpose."""


class UsageError(OvpsError, ValueError):
    """An option or argument is out of range or contradicts another; the message lists the allowed values."""


class QueryError(OvpsError, ValueError):
    """A phrase cannot be read as a query, or the model cannot answer it; the message quotes the phrase.

    Attributes:
        refused: one RefusedQuery per phrase, if all phrases of a list are refused.
    """

    def __init__(self, message: str, refused: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.refused = tuple(refused)


class ImageError(OvpsError, ValueError):
    """An image array or file cannot be used; the message names its shape, dtype or path."""


class CameraError(ImageError):
    """Intrinsics, depth and colour of a camera do not fit; the message names the field and both values."""


class CameraInfoError(CameraError):
    """A camera_info cannot be used for an image: it is not calibrated, or it describes another camera or size."""


class DepthFrameError(CameraError):
    """Depth was measured in another frame than the colour image, and cannot be registered to it."""


class CheckpointError(OvpsError):
    """Weights are missing, damaged or belong to another model; the message lists the first wrong keys."""


class ConfigError(OvpsError, ValueError):
    """A recipe or configuration file cannot be used; the message names the file, the key and what is allowed."""


class DatasetError(OvpsError):
    """A data set is missing or malformed; the message names the path and the expected layout."""


class RecordingError(DatasetError):
    """A recording (bag) or one of its topics cannot be read or written; the message names both."""


class OutputError(OvpsError):
    """A file cannot be written; the message names it and the reason, such as a full disk."""


class BackendError(OvpsError):
    """An inference engine is absent or cannot run this model; the message names one that can."""


class DeviceMemoryError(OvpsError, MemoryError):
    """The device has no memory for a frame; the message is the runtime's own."""


class MissingDependencyError(OvpsError, ImportError):
    """An optional package is not installed; the message has the line that installs it."""
