"""Units that we keep give the whole answer of HOPS, on its recorded weights and image.

No model of ours is a HOPS. This test puts one together: CAT-Seg's aggregation and decoder, first for the objects
of an image with the attention filter, then for the parts of each object in its crop. It needs the complete
recordings.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import pytest
import torch
import torch.nn.functional as F
from helpers.catseg_recordings import arrays_of, released_config, vocabulary
from helpers.paths import FIXTURES
from safetensors.torch import load_file
from torch import Tensor, nn

from ovps_core.checkpoints.convert.partcatseg import from_catseg
from ovps_core.evaluation.released_partcatseg import released_pixels
from ovps_core.models.catseg.model import CATSeg, guides, similarities
from scripts.refinement import filter_by_attention, object_crops

FILES = sorted((FIXTURES / "hops").glob("seed*_state.safetensors"))
SEEDS = [path.name.removesuffix("_state.safetensors") for path in FILES]
TRANSFORMER = "sem_seg_head.predictor.transformer."
pytestmark = [
    pytest.mark.parity,
    pytest.mark.skipif(not SEEDS, reason="needs the complete recordings: OVPS_FIXTURES"),
]


class Stage(CATSeg):
    """One of the two stages: a CAT-Seg of one layer; the first one filters its similarities."""

    @classmethod
    def of(cls, seed: str, layers: str) -> Stage:
        """The stage with the layers of this recorded name; only the second of them acts in the released code."""
        released = load_file(FIXTURES / "hops" / f"{seed}_state.safetensors")
        mask = next(tensor for name, tensor in released.items() if name.endswith(".attn_mask"))
        acting = f"{TRANSFORMER}{layers}.1."
        state = from_catseg(
            {
                name.replace(acting, f"{TRANSFORMER}layers.0."): tensor
                for name, tensor in released.items()
                if name.startswith(acting) or not name.startswith(f"{TRANSFORMER}layers")
            }
        )
        model = cls(dataclasses.replace(released_config("hops", state, mask, None), layers=1))
        model.load_state_dict({name: state[name] for name in model.state_dict()})
        return model.eval()

    @torch.inference_mode()
    def answer(self, image: Tensor, banks: Tensor, *, filtered: bool) -> Tensor:
        """Image uint8 or float [3, H, W] in 0 to 255, and text banks [T, M, D] -> logits float [T, h, w]."""
        clip_pixels, guidance_pixels = released_pixels(image.permute(1, 2, 0).numpy())
        spatial, *for_decoder = guides(self.encode_resized(clip_pixels, guidance_pixels))
        side = self.config.image_size
        tokens, attention = tokens_and_attention(
            self, F.interpolate(clip_pixels, (side, side), mode="bilinear")
        )
        grid = (side // self.backbone.stride,) * 2
        patches = F.normalize(tokens[:, 1:], dim=-1).transpose(1, 2).unflatten(2, grid)
        cost = similarities(patches, banks)
        if filtered:
            # Templates and classes are columns.
            rows = cost.flatten(1, 2).flatten(2).transpose(1, 2)
            rows = filter_by_attention(rows, attention[:, :, 1:, 1:])
            cost = rows.transpose(1, 2).reshape(cost.shape)
        maps = self.branch(cost, spatial, self.text_guidance(banks))
        return self.decoder(maps, (for_decoder[0], for_decoder[1]))[0]


def tokens_and_attention(model: CATSeg, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings float [B, 1 + N, D], and attention float [B, blocks, 1 + N, 1 + N], mean over heads.

    The last block runs twice: first each token by itself, then with attention.
    """
    visual = model.backbone.tower.visual
    entering: list[Tensor] = []
    first, *middle, last = visual.transformer.resblocks
    handle = first.register_forward_pre_hook(lambda block, args: entering.append(args[0]))
    model.backbone(pixels)
    handle.remove()
    (tokens,) = entering
    maps = []
    for block in (first, *middle):
        tokens, attention = run_block(block, tokens)
        maps.append(attention)
    value = F.linear(last.ln_1(tokens), last.attn.in_proj_weight, last.attn.in_proj_bias).chunk(
        3, -1
    )[2]
    tokens = tokens + last.attn.out_proj(value)
    tokens, attention = run_block(last, tokens + last.mlp(last.ln_2(tokens)))
    return visual.ln_post(tokens) @ visual.proj, torch.stack([*maps, attention], dim=1)


def run_block(block: nn.Module, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """A block of CLIP, and its attention averaged over heads."""
    normed = block.ln_1(tokens)
    mixed, attention = block.attn(normed, normed, normed, need_weights=True)
    tokens = tokens + mixed
    return tokens + block.mlp(block.ln_2(tokens)), attention


@pytest.fixture(params=SEEDS)
def recorded(request: pytest.FixtureRequest) -> tuple[str, Mapping[str, Tensor]]:
    return request.param, arrays_of(f"hops/{request.param}.npz")


def test_tokens_and_attention_of_the_image_tower_are_the_originals(
    recorded: tuple[str, Mapping[str, Tensor]],
) -> None:
    seed, arrays = recorded
    with torch.inference_mode():
        tokens, attention = tokens_and_attention(Stage.of(seed, "layers"), arrays["enc_image"])
    torch.testing.assert_close(tokens, arrays["enc_features"], rtol=0, atol=1e-5)
    torch.testing.assert_close(attention, arrays["enc_attn"], rtol=0, atol=1e-5)


def test_objects_then_the_parts_of_each(recorded: tuple[str, Mapping[str, Tensor]]) -> None:
    seed, arrays = recorded
    words, image = vocabulary("hops"), arrays["test_image"]
    banks = arrays["test_text_part_obj"]  # parts, objects, background
    objects = Stage.of(seed, "layers").answer(image, banks[len(words.parts) :], filtered=True)
    torch.testing.assert_close(objects, arrays["test_obj_logits_grid"][0], rtol=0, atol=1e-5)

    parts = Stage.of(seed, "layers_part")
    labels = arrays["test_obj_argmax"][0].numpy()
    background = len(words.objects_with_parts)
    side = parts.config.image_size
    crops = list(object_crops(image.permute(1, 2, 0).numpy(), labels, (side, side), background))
    assert [crop.label for crop in crops] == arrays["test_region_class"].tolist()
    for number, crop in enumerate(crops):
        rows = [
            words.part_index[i] for i, owner in enumerate(words.object_index) if owner == crop.label
        ]
        logits = parts.answer(crop.pixels, banks[rows], filtered=False)
        expected = arrays[f"test_region{number}_logits"][0]
        torch.testing.assert_close(logits, expected, rtol=0, atol=2e-5)
