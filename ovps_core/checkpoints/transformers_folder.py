"""Loading of a text-prompted segmenter from a folder in the layout of the Hugging Face hub."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from ovps_core.errors import CheckpointError, MissingDependencyError
from ovps_core.models.clipseg.query_encoder import PhraseEncoder
from ovps_core.models.interface import Preprocessing, QueryEncoder
from ovps_core.models.network import PartModel
from ovps_core.models.prompted.config import PromptedConfig
from ovps_core.models.prompted.networks import NETWORKS, require_transformers
from ovps_core.models.prompted.prompts import PromptTokenizer
from ovps_core.models.text.tower import TextEncoder

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def load_prompted(folder: Path, config: PromptedConfig) -> tuple[PartModel, QueryEncoder]:
    """Load the network and its query encoder from ``folder``, on the CPU, for inference.

    Args:
        folder: config.json, weights, tokeniser and preprocessor_config.json, as on the hub.
        config: what the network is.

    Raises:
        MissingDependencyError: transformers is missing, or too old for this model.
        CheckpointError: a file is missing or damaged, or the weights do not fit the network.
    """
    require_transformers()
    import transformers

    kind = NETWORKS[config.model_type]
    network_class = getattr(transformers, kind.class_name, None)
    if network_class is None:
        raise MissingDependencyError(
            f"transformers {transformers.__version__} is too old for {config.model_type!r}: "
            'pip install --upgrade "ovps[transformers]"'
        )
    adapter = kind.import_adapter()
    with _errors_of(folder), _quiet():
        network, report = network_class.from_pretrained(
            folder, local_files_only=True, dtype=torch.float32, output_loading_info=True
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        preprocessing = _preprocessing(folder, network, adapter.mean_std)
    _check_complete(report, folder, network)
    network.eval().requires_grad_(False)
    model = adapter(network, preprocessing, config)
    tower = model.text_tower(tokenizer.pad_token_id)
    text_encoder = TextEncoder(tower, PromptTokenizer(tokenizer, model.context_length))
    return model.eval(), PhraseEncoder(text_encoder.eval(), model.spec.condition_dim)


def _preprocessing(
    folder: Path, network: PreTrainedModel, mean_std: tuple[float, float]
) -> Preprocessing:
    """Conversion of images as the folder says; ``mean_std`` of each channel where it does not."""
    from transformers.image_processing_utils import BaseImageProcessor

    processor_config, _ = BaseImageProcessor.get_image_processor_dict(folder, local_files_only=True)
    size = processor_config.get("size")
    if not size:
        size = dict.fromkeys(("height", "width"), network.config.image_size)
    mean, std = mean_std
    return Preprocessing(
        size=(size["height"], size["width"]),
        mean=tuple(processor_config.get("image_mean", [mean] * 3)),
        std=tuple(processor_config.get("image_std", [std] * 3)),
    )


def _check_complete(report: dict[str, Any], folder: Path, network: PreTrainedModel) -> None:
    """Check that every tensor of the network was read; transformers itself makes up what is missing.

    Raises:
        CheckpointError: tensors are missing, or of other shapes.
    """
    missing = sorted(report["missing_keys"])
    reshaped = sorted(str(key) for key, *_ in report["mismatched_keys"])
    for problem, keys in (("lack", missing), ("have other shapes of", reshaped)):
        if keys:
            more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
            raise CheckpointError(
                f"the weights in {folder} {problem} {len(keys)} tensors of a {type(network).__name__}: "
                f"{', '.join(keys[:3])}{more}. Another version of transformers may name them otherwise: "
                'pip install --upgrade "ovps[transformers]"'
            )


@contextlib.contextmanager
def _errors_of(folder: Path) -> Iterator[None]:
    """Turn the many kinds of errors of transformers into one."""
    try:
        yield
    except (CheckpointError, MissingDependencyError):
        raise
    except Exception as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise CheckpointError(f"transformers cannot load {folder}: {reason}") from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Load without progress bars and notes on stderr; what matters in them becomes an error."""
    from transformers.utils import logging

    verbosity, has_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if has_bars:
            logging.enable_progress_bar()
