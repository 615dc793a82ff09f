"""Models that transformers runs, and the packages that this needs."""

from __future__ import annotations

from ovps_core.structures.requirements import require_packages

NETWORKS = {
    "sam3": "Sam3Model",
    "sam3_video": "Sam3Model",  # the released file holds the tracker too, which is left out
    "sam3_lite_text": "Sam3LiteTextModel",
}
"""Classes of transformers by the ``model_type`` of a config.json."""


def require_transformers() -> None:
    """Check that transformers is installed, with what it needs to run these models.

    Raises:
        MissingDependencyError: a package is missing; the message has the line that installs it.
    """
    require_packages("transformers", "torchvision", extra="transformers")
