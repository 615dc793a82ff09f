"""Where the released PartCLIPSeg differs from what its paper means, one switch per correction."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Corrections:
    """True is the corrected behaviour, False the released one; recorded in every checkpoint.

    Attributes:
        object_prompt: the object half of a pair's text is the object's prompt (released: by an index slip, the
            part prompt that stands at the object's position).
        rgb_training: training images are RGB like test images (released: BGR in training only).
        differentiable_separation: the separation loss compares soft maps (released: thresholded, no gradient).
        enhancement_over_part: the enhancement loss averages and takes its maximum over the part's own pixels
            (released: over the whole grid).
        unshifted_labels: ground truth stays where it is (released: resized twice, most rows and columns move by
            one pixel).
    """

    object_prompt: bool = True
    rgb_training: bool = True
    differentiable_separation: bool = True
    enhancement_over_part: bool = True
    unshifted_labels: bool = True

    @classmethod
    def released(cls) -> Corrections:
        """What the published checkpoints were trained and tested with."""
        return cls(False, False, False, False, False)
