"""CLIP's image tower with an aligned embedding for each patch, not one for the image."""

from __future__ import annotations

from open_clip.model import CustomTextCLIP
from open_clip.transformer import VisionTransformer
from torch import Tensor

from ovps_core.errors import CheckpointError
from ovps_core.models.backbones.clip_vit import ClipVit


class DenseClip(ClipVit):
    """CLIP's ViT whose last block has no attention, so that each patch keeps its own value.

    In the last block every token is given its own value in place of a mixture: ``x + W_o V(LN x)``. After the
    block's MLP, the last normalisation and CLIP's projection, patches can be compared with texts.

    Source: Zhou et al., "Extract Free Dense Labels from CLIP", ECCV 2022; CAT-Seg (CVPR 2024) uses it.

    Args:
        visual: the image tower of a CLIP model.
    """

    def __init__(self, visual: VisionTransformer) -> None:
        super().__init__(visual, (len(visual.transformer.resblocks) - 2,))
        self.widths = (visual.output_dim,)

    @classmethod
    def of(cls, clip: CustomTextCLIP) -> DenseClip:
        """The dense image tower of a CLIP model.

        Raises:
            CheckpointError: the image tower is not a ViT of open_clip.
        """
        if not isinstance(clip.visual, VisionTransformer):
            raise CheckpointError(
                f"the image tower of this CLIP is a {type(clip.visual).__name__}; dense features need a ViT, such "
                "as ViT-B-16-quickgelu"
            )
        return cls(clip.visual)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        """Normalised pixels float [B, 3, H, W] -> one level float [B, 1 + h * w, D], the class token first."""
        (tokens,) = super().forward(pixels)
        visual = self.tower.visual
        block = visual.transformer.resblocks[-1]
        values = block.attn.in_proj_weight.chunk(3)[2], block.attn.in_proj_bias.chunk(3)[2]
        tokens = tokens + block.attn.out_proj(block.ln_1(tokens) @ values[0].T + values[1])
        tokens = tokens + block.mlp(block.ln_2(tokens))
        return [visual.ln_post(tokens) @ visual.proj]

    def patches(self, pixels: Tensor) -> Tensor:
        """Normalised pixels float [B, 3, H, W] -> embeddings of the patches float [B, D, h, w], not normalised."""
        (tokens,) = self(pixels)
        return tokens[:, self.prefix :].transpose(1, 2).unflatten(2, self.grid(*pixels.shape[-2:]))
