"""Corrections of the released PartCLIPSeg towards its paper, one switch each."""

from __future__ import annotations

from dataclasses import dataclass

from ovps_core.models.clipseg.corrections import DataCorrections


@dataclass(frozen=True)
class Corrections(DataCorrections):
    """Switches; True is the corrected behaviour, False the released one. Recorded in every checkpoint.

    Attributes:
        object_prompt: an (object, part) class is composed with the object's prompt (released: by an index slip,
            with the prompt at that position among parts and objects, mostly a part's).
        differentiable_separation: the separation loss compares soft maps (released: thresholded, no gradient).
        enhancement_over_part: the enhancement loss averages and takes its maximum over the part's own pixels
            (released: over the whole grid).
    """

    object_prompt: bool = True
    differentiable_separation: bool = True
    enhancement_over_part: bool = True
