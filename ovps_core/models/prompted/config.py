"""Configuration of a model that transformers runs; reading it needs no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PromptedConfig:
    """Configuration of a model of transformers; the rest stands in the config.json of its folder.

    Attributes:
        model_type: transformers' name of the family, such as "sam3".
    """

    model_type: str

    @property
    def vocabulary(self) -> None:
        """None, because the model takes any words."""
        return None
