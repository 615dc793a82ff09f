"""Models that transformers runs, and the packages that this needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovps_core.structures.requirements import require_packages

if TYPE_CHECKING:
    from ovps_core.models.prompted.model import PromptedModel


@dataclass(frozen=True)
class PromptedNetwork:
    """A kind of segmenter that transformers runs.

    Attributes:
        class_name: its class in transformers.
        import_adapter: returns our class around it, which is imported when it is used.
    """

    class_name: str
    import_adapter: Callable[[], type[PromptedModel]]


def _sam3() -> type[PromptedModel]:
    from ovps_core.models.prompted.sam3 import Sam3

    return Sam3


NETWORKS = {
    "sam3": PromptedNetwork("Sam3Model", _sam3),
    # The released file holds the tracker too, which is left out.
    "sam3_video": PromptedNetwork("Sam3Model", _sam3),
    "sam3_lite_text": PromptedNetwork("Sam3LiteTextModel", _sam3),
}
"""Networks by the ``model_type`` of a config.json."""


def require_transformers() -> None:
    """Check that transformers is installed, with what it needs to run these models.

    Raises:
        MissingDependencyError: a package is missing; the message has the line that installs it.
    """
    require_packages("transformers", "torchvision", extra="transformers")
