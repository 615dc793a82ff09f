"""CLIPSeg computes what Hugging Face's computes, for the same weights and inputs."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from helpers.paths import FIXTURES
from helpers.recordings import Recording, recorded_tensors
from helpers.toy_models import build
from safetensors.torch import load_file

from ovps_core.checkpoints import LoadedModel
from ovps_core.checkpoints.convert.clipseg import clipseg_values
from ovps_core.checkpoints.convert.key_names import from_hugging_face
from ovps_core.checkpoints.file import load_full_state
from ovps_core.models.backbones.clip_vit import resize_positions
from ovps_core.models.clipseg.decoder import Upsampler, tokens_to_maps
from ovps_core.models.clipseg.model import CLIPSeg, CLIPSegConfig
from ovps_core.models.interface import Conditions

CASES = sorted(
    (path.stem, size)
    for path in (FIXTURES / "clipseg").glob("*.npz")
    for size in {key.split("_")[0] for key in np.load(path).files}
)
TOLERANCE = 4e-4

pytestmark = pytest.mark.parity


def load(stem: str) -> tuple[LoadedModel, Recording[torch.Tensor]]:
    folder = FIXTURES / "clipseg"
    state = dict(load_file(folder / f"{stem}_state.safetensors"))
    config = json.loads((folder / f"{stem}_config.json").read_text())
    loaded = build("clipseg", CLIPSegConfig(**clipseg_values(state, config)))
    load_full_state(loaded.model, loaded.query_encoder, from_hugging_face(state))
    return loaded, recorded_tensors(folder / f"{stem}.npz")


def stages(
    loaded: LoadedModel, recorded: Recording[torch.Tensor], dtype: torch.dtype
) -> dict[str, torch.Tensor]:
    """Every recorded array as our network computes it in ``dtype``, under its recorded name."""
    model, query_encoder, _ = loaded
    assert isinstance(model, CLIPSeg) and query_encoder.text_encoder is not None
    model, text_encoder = model.to(dtype), query_encoder.text_encoder.to(dtype)
    pixels = recorded["pixel_values"].to(dtype)
    ours = {"conditional_embeddings": text_encoder(recorded["input_ids"].long())}

    visual = model.backbone.tower.visual
    visual.positional_embedding = torch.nn.Parameter(
        resize_positions(visual.positional_embedding, model.backbone.grid(*pixels.shape[-2:]))
    )
    ours["pooled_output"] = visual(pixels)
    ours["vision_hidden0"] = visual._embeds(pixels)
    layers = visual.forward_intermediates(pixels, output_fmt="NLC", output_extra_tokens=True)
    for i, tokens in enumerate(layers["image_intermediates"]):
        prefix = layers["image_intermediates_prefix"][i]
        ours[f"vision_hidden{i + 1}"] = torch.cat([prefix, tokens], 1)

    # The original pairs image i with text i; ours crosses every image with every text.
    def paired(crossed: torch.Tensor) -> torch.Tensor:
        return torch.stack([crossed[i, i] for i in range(len(pixels))])

    features = model.encode(pixels)
    text = recorded["conditional_embeddings"].to(dtype)
    tokens, attentions = model.decoder(features.levels, text, keep_attention=True)
    for layer, attention in enumerate(attentions):
        ours[f"decoder_attn{layer}"] = paired(attention)
    if (last := f"decoder_hidden{len(attentions)}") in recorded:
        ours[last] = paired(tokens)
    maps = tokens_to_maps(tokens, model.backbone.grid(*features.size), 1)
    ours["logits"] = paired(model.upsample(maps))
    words = ours["conditional_embeddings"]
    logits = model.decode(features, Conditions.names_only(words)).names
    ours["logits from words"] = paired(logits)
    return ours


@pytest.mark.parametrize(("stem", "size"), CASES)
@torch.no_grad()
def test_every_recorded_array_is_reproduced(stem: str, size: str) -> None:
    _, arrays = load(stem)
    recorded = Recording(
        {k.removeprefix(f"{size}_"): v for k, v in arrays.items() if k.startswith(size)}
    )
    found = stages(load(stem)[0], recorded, torch.float32)
    # The small random networks magnify the last bit of a sum, and processors sum in different orders. The recorded
    # float32 arrays are themselves up to 2.3e-3 away from float64. Another processor may be as far away elsewhere.
    exact = stages(load(stem)[0], recorded, torch.float64)
    for name, ours in found.items():
        if (key := name.removesuffix(" from words")) not in recorded:
            continue
        truth = recorded[key]
        # End to end, 1e-6 in the text is 1e-4 here, so the tolerance is relative to the largest logit.
        scale = truth.abs().max().item() if name == "logits from words" else 1.0
        rounding = (exact[name] - truth).abs().max().item()
        assert rounding < 3e-3, name
        torch.testing.assert_close(
            ours,
            truth,
            rtol=0,
            atol=max(TOLERANCE * scale, 3 * rounding),
            msg=lambda text, name=name: f"{name}: {text}",
        )


@pytest.mark.parametrize(("stride", "refined"), [(14, True), (16, True), (14, False)])
def test_upsampling_equals_transposed_convolutions(stride: int, refined: bool) -> None:
    layers, maps = Upsampler(8, stride, refined), torch.randn(2, 3, 8, 4, 5)
    expected = torch.nn.Sequential.forward(layers, maps.flatten(0, 1))
    torch.testing.assert_close(
        layers(maps), expected.unflatten(0, (2, 3))[:, :, 0], atol=1e-5, rtol=1e-4
    )
    assert layers(maps[:, :0]).shape == (2, 0, 4 * stride, 5 * stride)
