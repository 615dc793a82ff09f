"""Corrections of the released PartCATSeg towards its paper, one switch each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Corrections:
    """Switches; True is the corrected behaviour, False the released one. Recorded in every checkpoint.

    Those of the evaluation are in :class:`ovps_core.evaluation.protocols.EvaluationProtocol`.

    Attributes:
        separate_aggregation: parts and objects are refined by layers of their own; in the last one the parts also
            see the objects (released: by the same layers, all together). Off by default, since such a model has no
            exported graphs.
        linear_class_attention: linear attention among classes, as the initial weights were trained with
            (released: attention in which queries compete for keys).
        pretrained_pair_branch: the second branch starts from the pre-trained first one (released: from the random
            values that the first one had before its weights were loaded).
        trained_composition: the compositional loss compares the logits of both branches (released: cosine
            similarities, nearly uniform, of which those of the objects have no gradient).
    """

    separate_aggregation: bool = False
    linear_class_attention: bool = True
    pretrained_pair_branch: bool = True
    trained_composition: bool = True

    @classmethod
    def released(cls) -> Corrections:
        """Return the settings with which the published checkpoints were trained and tested."""
        return cls(False, False, False, False)
