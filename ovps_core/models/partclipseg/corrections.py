"""Corrections of the released PartCLIPSeg towards its paper, one switch each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Corrections:
    """Switches; True is the corrected behaviour, False the released one. Recorded in every checkpoint.

    Attributes:
        object_prompt: an (object, part) class is composed with the object's prompt (released: by an index slip,
            with the prompt at that position among parts and objects, mostly a part's).
        rgb_training: training images are RGB like test images (released: BGR in training only).
        differentiable_separation: the separation loss compares soft maps (released: thresholded, no gradient).
        enhancement_over_part: the enhancement loss averages and takes its maximum over the part's own pixels
            (released: over the whole grid).
        unshifted_labels: ground truth is not shifted (released: resized twice, most rows and columns move by one
            pixel).
    """

    object_prompt: bool = True
    rgb_training: bool = True
    differentiable_separation: bool = True
    enhancement_over_part: bool = True
    unshifted_labels: bool = True

    @classmethod
    def released(cls) -> Corrections:
        """Return the settings with which the published checkpoints were trained and tested."""
        return cls(False, False, False, False, False)
