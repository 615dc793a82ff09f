"""Other projects' weights into our file: PartCLIPSeg, Hugging Face CLIPSeg, original CLIPSeg decoders."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from ovps_core.checkpoints.convert.key_names import (
    StateDict,
    from_original_clipseg,
    from_released,
)
from ovps_core.checkpoints.file import CheckpointInfo, check_fit, save_model
from ovps_core.errors import CheckpointError
from ovps_core.language.vocabulary import load_vocabulary
from ovps_core.models.backbones.clip_vit import pretrained_clip
from ovps_core.models.clipseg.model import CLIPSegConfig
from ovps_core.models.partclipseg.corrections import Corrections
from ovps_core.models.partclipseg.model import PartCLIPSegConfig

_CLIPSEG_LAYERS = (3, 6, 9)
_RELEASED_PREFIX = "partclipseg_model."
_EXPECTED = (
    "expected a released PartCLIPSeg .pth, a Hugging Face CLIPSeg directory (config.json and weights), "
    "or an original CLIPSeg decoder .pth"
)


def convert(
    source: Path, destination: Path, *, vocabulary: str = "", name: str = "", clip: str = "openai"
) -> CheckpointInfo:
    """Convert the weights at ``source`` into ``destination``, a safetensors file with its configuration.

    Args:
        source: a file or directory; which project it is from shows in its tensors.
        destination: the file to write.
        vocabulary: for PartCLIPSeg, the benchmark it was trained on ("pascal_part_116", ...); its objects are
            the train split's.
        name: what to call the model; the destination's stem by default.
        clip: for original CLIPSeg decoder files, the open_clip tag of the CLIP weights they lack.

    Raises:
        CheckpointError: the file cannot be read or is of another model; lists the first wrong tensors.
    """
    state = read_state(source)
    config = _hugging_face_config(source)
    if any(key.startswith("trans_conv.") for key in state):
        info, ours = _original(state, clip)
    elif "non_object_embedding" in state:
        info, ours = _partclipseg(state, config, vocabulary)
    elif any(key.startswith("clip.vision_model.") for key in state):
        info, ours = _clipseg(state, config)
    else:
        first = ", ".join(sorted(state)[:5])
        raise CheckpointError(
            f"{source} is of an unknown model: its first tensors are {first}; {_EXPECTED}"
        )
    info = replace(info, name=name or destination.stem, source=source.name)
    check_fit(info, ours, origin=str(source))
    return save_model(destination, ours, info)


def read_state(source: Path) -> StateDict:
    """The tensors of a file or Hugging Face directory; optimiser state and anything else is left behind.

    Pickled files go through PyTorch's restricted unpickler, which builds tensors and plain containers only.

    Raises:
        CheckpointError: no such file, a damaged one, or a pickle that asks for more.
    """
    path = _weights_file(source)
    if path.suffix == ".safetensors":
        return dict(load_file(path))
    try:
        content = _unpickle(path)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path} cannot be read as weights ({reason}); the file is damaged, or holds Python "
            "objects that are not loaded for safety"
        ) from error
    while isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    if not isinstance(content, Mapping):
        raise CheckpointError(
            f"{path} holds a {type(content).__name__}, not a state dict; {_EXPECTED}"
        )
    return {
        str(key).removeprefix(_RELEASED_PREFIX): torch.as_tensor(value)
        for key, value in content.items()
        if isinstance(value, Tensor) or hasattr(value, "__array__")
    }


def _unpickle(path: Path) -> Any:
    try:  # mapped, so that 219 MB of optimiser state are never read
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap" not in str(error):
            raise
        return torch.load(path, map_location="cpu", weights_only=True)


def _weights_file(source: Path) -> Path:
    if source.is_file():
        return source
    for name in ("model.safetensors", "pytorch_model.bin"):
        if (source / name).is_file():
            return source / name
    raise CheckpointError(f"no weights at {source}; {_EXPECTED}")


def _hugging_face_config(source: Path) -> dict[str, Any]:
    """The config.json beside the weights with the processor's size, or nothing."""
    folder = source if source.is_dir() else source.parent
    if not (folder / "config.json").is_file():
        return {}
    config = json.loads((folder / "config.json").read_text())
    processor = folder / "preprocessor_config.json"
    if processor.is_file():
        size = json.loads(processor.read_text()).get("size", {})
        config["image_size"] = size.get("height", 352) if isinstance(size, dict) else size
    return config


def clipseg_values(state: StateDict, config: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of :class:`CLIPSegConfig` for a state dict under Hugging Face names.

    What the tensors do not tell (numbers of heads, image size) comes from ``config``, a Hugging Face
    configuration, or is CLIP's own: 64 channels a head, 352 pixels.
    """
    vision, text = config.get("vision_config", {}), config.get("text_config", {})
    width = state["clip.vision_model.embeddings.class_embedding"].shape[0]
    patches, _ = state["clip.vision_model.embeddings.position_embedding.weight"].shape
    patch_size = state["clip.vision_model.embeddings.patch_embedding.weight"].shape[-1]
    vocabulary, text_width = state["clip.text_model.embeddings.token_embedding.weight"].shape
    context_length = state["clip.text_model.embeddings.position_embedding.weight"].shape[0]
    hidden = state["clip.vision_model.encoder.layers.0.mlp.fc1.weight"].shape[0]
    text_hidden = state["clip.text_model.encoder.layers.0.mlp.fc1.weight"].shape[0]
    dim = state["decoder.reduces.0.weight"].shape[0]
    return {
        "clip": {
            "embed_dim": state["clip.text_projection.weight"].shape[0],
            "vision_cfg": {
                "layers": _layers(state, "clip.vision_model.encoder.layers"),
                "width": width,
                "head_width": width // vision.get("num_attention_heads", max(1, width // 64)),
                "mlp_ratio": hidden / width,
                "patch_size": patch_size,
                "image_size": round((patches - 1) ** 0.5) * patch_size,
            },
            "text_cfg": {
                "context_length": context_length,
                "vocab_size": vocabulary,
                "width": text_width,
                "heads": text.get("num_attention_heads", max(1, text_width // 64)),
                "layers": _layers(state, "clip.text_model.encoder.layers"),
                "mlp_ratio": text_hidden / text_width,
            },
            "quick_gelu": True,
        },
        "out_indices": tuple(config.get("extract_layers", _CLIPSEG_LAYERS)),
        "image_size": config.get("image_size", 352),
        "dim": dim,
        "heads": config.get("decoder_num_attention_heads", 4),
        "mlp_dim": state["decoder.layers.0.mlp.fc1.weight"].shape[0],
        "refined_upsampling": "decoder.transposed_convolution.0.weight" in state,
    }


def _clipseg(state: StateDict, config: dict[str, Any]) -> tuple[CheckpointInfo, dict[str, Tensor]]:
    values = _derive(state, config)
    info = CheckpointInfo("", "clipseg", CLIPSegConfig(**values), licence="Apache-2.0")
    return info, from_released(state)


def _partclipseg(
    state: StateDict, config: dict[str, Any], vocabulary: str
) -> tuple[CheckpointInfo, dict[str, Tensor]]:
    if not vocabulary:
        raise CheckpointError(
            "a PartCLIPSeg checkpoint does not say what it was trained on; name it: "
            "--vocabulary pascal_part_116, ade20k_part_234 or partimagenet"
        )
    trained = tuple(load_vocabulary(vocabulary).seen().object_parts)
    part_config = PartCLIPSegConfig(
        **_derive(state, config), corrections=Corrections.released(), trained_object_parts=trained
    )
    return CheckpointInfo("", "partclipseg", part_config, licence="MIT"), from_released(state)


def _original(state: StateDict, clip: str) -> tuple[CheckpointInfo, dict[str, Tensor]]:
    """Join a decoder-only file with the CLIP weights it was trained on."""
    config = CLIPSegConfig(
        out_indices=_CLIPSEG_LAYERS, refined_upsampling="trans_conv.0.weight" in state
    )
    assert isinstance(config.clip, str)
    towers = pretrained_clip(config.clip, clip)
    ours = from_original_clipseg(state)
    ours |= {f"text.tower.{name}": tensor for name, tensor in towers.text.state_dict().items()}
    ours |= {f"backbone.tower.visual.{name}": t for name, t in towers.visual.state_dict().items()}
    return CheckpointInfo("", "clipseg", config, licence="MIT"), ours


def _derive(state: StateDict, config: dict[str, Any]) -> dict[str, Any]:
    try:
        return clipseg_values(state, config)
    except KeyError as error:
        raise CheckpointError(
            f"the weights lack {error}, which every CLIPSeg has; {_EXPECTED}"
        ) from error


def _layers(state: StateDict, stem: str) -> int:
    numbers = (re.match(rf"{re.escape(stem)}\.(\d+)\.", key) for key in state)
    return 1 + max((int(number[1]) for number in numbers if number), default=-1)
