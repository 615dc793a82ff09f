"""Corrections of the released training of PartCLIPSeg and its baseline CLIPSeg, one switch each."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True)
class DataCorrections:
    """Switches of what a network sees in training; True is the corrected behaviour, False the released one.

    Attributes:
        rgb_training: training images are RGB like test images (released: BGR in training only).
        unshifted_labels: ground truth is not shifted (released: resized twice, most rows and columns move by one
            pixel).
    """

    rgb_training: bool = True
    unshifted_labels: bool = True

    @classmethod
    def released(cls) -> Self:
        """Return the settings with which the published checkpoints were trained and tested."""
        return cls(**{field.name: False for field in fields(cls)})
