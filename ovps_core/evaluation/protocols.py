"""Benchmark protocols and their two settings, as values.

The settings are those of OV-PARTS (Wei et al., NeurIPS 2023). In Oracle-Obj the objects of the item are given,
and only their parts are predicted. In Pred-All nothing is given: the object maps select the object of a pixel,
then the part of that object with the highest score is predicted. :mod:`ovps_core.evaluation.predicted_labels`
carries them out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum


class Setting(str, Enum):
    """Knowledge about an image that the model is given: nothing, or the objects in it."""

    PRED_ALL = "pred-all"
    ORACLE_OBJ = "oracle-obj"


@dataclass(frozen=True)
class EvaluationProtocol:
    """Choices that change the numbers of a benchmark run.

    By default labels and metrics are those of the papers. The switches reproduce behaviours of the released
    evaluations; see :mod:`ovps_core.evaluation.released` and :mod:`ovps_core.evaluation.released_partcatseg`.

    Attributes:
        title: for headings.
        shifts_labels: resize label maps and back, which moves most rows and columns by one pixel.
        replaces_empty_items: replace an item without part labels by a random one; else skip it.
        subtracts_boundary_labels: compute boundary IoU on differences of class indices, not on masks.
        decides_object_first: Pred-All takes the part of the object that the object maps show; else the highest of
            all classes, for models that compare their classes with each other or have no object maps.
        resized_sides: maximum of the short and the long side, pixels, to which labels (and pixels, where they are
            emulated) are resized.
        stretches_padding: the network's input is padded, and the answer for the padded canvas is stretched over
            the image.
        interpolates_scores: probabilities are resized, not logits.
        matches_objects_by_substring: Oracle-Obj allows every class whose name contains the name of the item's
            first object, so "chair" allows the parts of an armchair.
        drops_missed_classes: means over seen and unseen classes leave out classes with an IoU of 0.
    """

    title: str
    shifts_labels: bool = False
    replaces_empty_items: bool = False
    subtracts_boundary_labels: bool = False
    decides_object_first: bool = True
    resized_sides: tuple[int, int] = (800, 1333)
    stretches_padding: bool = False
    interpolates_scores: bool = False
    matches_objects_by_substring: bool = False
    drops_missed_classes: bool = False


CLEAN = EvaluationProtocol("clean protocol")
"""The protocol of the papers, without the errors of the released code."""

RELEASED = EvaluationProtocol(
    "released evaluation, emulated",
    shifts_labels=True,
    replaces_empty_items=True,
    subtracts_boundary_labels=True,
)
"""The released evaluation of PartCLIPSeg, for comparison with published numbers only."""

CLEAN_JOINT = replace(CLEAN, decides_object_first=False)
"""The protocol of the PartCATSeg paper, for models that compare their classes with each other."""

RELEASED_JOINT = EvaluationProtocol(
    "released PartCATSeg evaluation, emulated",
    shifts_labels=True,
    replaces_empty_items=True,
    decides_object_first=False,
    resized_sides=(640, 768),
    stretches_padding=True,
    interpolates_scores=True,
    matches_objects_by_substring=True,
    drops_missed_classes=True,
)
"""The released evaluation of PartCATSeg and CAT-Seg, for comparison with published numbers only."""


def choose_protocol(*, joint: bool, classes_only: bool, released: bool) -> EvaluationProtocol:
    """The protocol of a run.

    Args:
        joint: the model compares its classes with each other (PartCATSeg, CAT-Seg).
        classes_only: the model has no maps of objects (CLIPSeg, CAT-Seg).
        released: emulate the released evaluation of that kind of model.
    """
    if joint:
        return RELEASED_JOINT if released else CLEAN_JOINT
    return replace(RELEASED if released else CLEAN, decides_object_first=not classes_only)
