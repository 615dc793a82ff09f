"""Base class of our classes around text-prompted segmenters of transformers."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from ovps_core.models.interface import Preprocessing
from ovps_core.models.network import PartModel
from ovps_core.models.prompted.config import PromptedConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel


class PromptedModel(PartModel):
    """A segmenter of transformers: each phrase is one prompt, and one condition.

    A subclass sets ``spec`` and implements :meth:`text_tower`, ``encode`` and ``decode``. Its row in
    :data:`ovps_core.models.prompted.networks.NETWORKS` says for which networks it is.

    Args:
        network: the network, with its weights.
        preprocessing: conversion of images that the weights were trained with; part of ``spec``.
        config: what the network is.

    Attributes:
        context_length: tokens of a prompt, with those that mark begin and end.
        mean_std: mean and standard deviation of pixels in 0..1, of each channel, where the folder does not say.
    """

    config: PromptedConfig
    context_length: int
    mean_std: ClassVar[tuple[float, float]] = (0.5, 0.5)

    def __init__(
        self, network: PreTrainedModel, preprocessing: Preprocessing, config: PromptedConfig
    ) -> None:
        super().__init__()
        self.network: Any = network
        self.config = config

    @abstractmethod
    def text_tower(self, padding_token: int) -> nn.Module:
        """The text side of the network: tokens int64 [N, L], -1 where padded -> conditions float [N, D].

        Args:
            padding_token: the tokeniser's own one, for networks that must have a token everywhere.
        """
