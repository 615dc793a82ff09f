"""Corrections of the released OpenSeeD's training towards its paper, one switch each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Corrections:
    """Switches; True is the corrected behaviour, False the released one. Recorded in every checkpoint.

    They change training only. Answers depend on the weights alone.

    Attributes:
        stuff_by_vocabulary: the vocabulary says which names are stuff, and a model without stuff queries matches
            any query with any object (released: the first 80 names are things, also in other vocabularies, and
            without stuff queries each stuff region goes to an arbitrary query).
        vocabulary_independent_denoising: the class loss of the denoising queries is a sum over names like that of
            the others (released: a mean, so its weight falls with the size of the vocabulary).
        trained_stuff_queries: the learned stuff queries get gradients through the decoder (released: from the
            intermediate predictions only).
        denoising_of_many_objects: a batch with more than 100 objects in an image has one group of denoising
            queries (released: none).
        selected_objects_by_boxes: in a step without masks, the selected queries too are matched among those for
            objects alone, as in every layer of the decoder (released: the stuff queries among them take part).
    """

    stuff_by_vocabulary: bool = True
    vocabulary_independent_denoising: bool = True
    trained_stuff_queries: bool = True
    denoising_of_many_objects: bool = True
    selected_objects_by_boxes: bool = True

    @classmethod
    def released(cls) -> Corrections:
        """Return the settings with which the published checkpoints were trained."""
        return cls(False, False, False, False, False)
