"""CAT-Seg (Cho et al., CVPR 2024): similarities of patches and texts, refined over space and among classes.

CLIP compares every patch with every prompt of every class. These similarities (the cost volume) are refined by
layers that see one class at a time, and by layers that see one place at a time. A second image backbone guides the
refinement and the decoder. This is the first version of the paper, with that second backbone.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from open_clip.model import CustomTextCLIP
from torch import Tensor, nn

from ovps_core.models.backbones.clip_vit import build_clip
from ovps_core.models.backbones.dense_clip import DenseClip
from ovps_core.models.catseg.aggregation import CostBranch
from ovps_core.models.catseg.config import CATSegConfig
from ovps_core.models.catseg.decoder import GuidedDecoder
from ovps_core.models.catseg.guidance import GuidanceBackbone, GuidanceProjection
from ovps_core.models.interface import (
    Conditions,
    Features,
    ModelSpec,
    PartLogits,
    Preprocessing,
)
from ovps_core.models.joint_conditions import JointConditions
from ovps_core.models.network import PartModel
from ovps_core.models.objects import ObjectPredictions

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class CATSeg(PartModel):
    """CAT-Seg: each phrase and the background are one class; classes influence each other.

    A condition is a text bank, M normalised embeddings of D channels in one row; see
    :class:`ovps_core.models.catseg.text.PromptBankEncoder`.

    Args:
        config: configuration of the network.
        clip: the CLIP model whose image tower is used; built from ``config.clip`` by default.
    """

    config: CATSegConfig

    def __init__(self, config: CATSegConfig, clip: CustomTextCLIP | None = None) -> None:
        super().__init__()
        self.config = config
        clip = clip or build_clip(config.clip)
        self.backbone = DenseClip.of(clip)
        self.guidance = GuidanceBackbone(config.guidance) if config.guidance else None
        side = max(config.image_size, config.guidance_size if config.guidance else 0)
        self.text_dim = clip.text.output_dim
        self.spec = ModelSpec(
            preprocessing=Preprocessing(size=(side, side)),
            condition_dim=config.templates * self.text_dim,
            trained_object_parts=config.trained_object_parts,
            safe_in_half_precision=False,  # not measured
        )
        widths = (0, 0, 0)
        if self.guidance is not None:
            widths = (config.guidance_dim, *config.decoder_guidance_dims)
            self.guidance_projection = GuidanceProjection(config, self.guidance.widths)
        self.text_projection = nn.Linear(self.text_dim, config.text_guidance_dim)
        self.branch = CostBranch(config, widths[0])
        self.decoder = GuidedDecoder(config, (widths[1], widths[2]))
        self.background: Tensor  # random, never trained, as released
        self.register_buffer("background", torch.randn(1, self.text_dim) * self.text_dim**-0.5)

    def encode(self, pixels: Tensor) -> Features:
        """Pixels float [B, 3, H, W], normalised as for ImageNet -> levels of :meth:`encode_resized`."""
        mean, std = self.spec.preprocessing.mean, self.spec.preprocessing.std
        scale, offset = (
            pixels.new_tensor(values)[:, None, None]
            for values in (
                [s / c for s, c in zip(std, CLIP_STD, strict=True)],
                [(m - c) / d for m, c, d in zip(mean, CLIP_MEAN, CLIP_STD, strict=True)],
            )
        )
        return self.encode_resized(pixels * scale + offset, pixels)

    def encode_resized(self, clip_pixels: Tensor, guidance_pixels: Tensor) -> Features:
        """Encode an image of any size that is normalised twice.

        Both are resized to the squares of the configuration by a bilinear filter without antialiasing.

        Args:
            clip_pixels: float [B, 3, H, W], normalised as for CLIP.
            guidance_pixels: float [B, 3, H, W], normalised as for ImageNet.

        Returns:
            Normalised embeddings of the patches float [B, D, h, w]; with guidance also its projections float
            [B, guidance, s * h, s * w] for s = 1, 2, 4.
        """
        config = self.config
        clip_pixels = _squared(clip_pixels, config.image_size)
        patches = F.normalize(self.backbone.patches(clip_pixels), dim=1)
        levels = [patches]
        if self.guidance is not None:
            grid = patches.shape[-2], patches.shape[-1]
            maps = self.guidance(_squared(guidance_pixels, config.guidance_size), grid)
            levels += self.guidance_projection(maps)
        return Features(tuple(levels), (guidance_pixels.shape[-2], guidance_pixels.shape[-1]))

    def decode(
        self, features: Features, conditions: Conditions, objects: ObjectPredictions | None = None
    ) -> PartLogits:
        """One map per class: ``names`` float [B, C, h, w]; ``object_parts`` is empty."""
        banks = self.banks(conditions.names)
        maps = self.branch(
            similarities(features.levels[0], banks), guides(features)[0], self.text_guidance(banks)
        )
        return PartLogits.names_only(self.decoder(maps, guides(features)[1:]))

    def banks(self, rows: Tensor) -> Tensor:
        """Conditions float [C, M * D] -> text banks float [C, M, D]."""
        return rows.unflatten(1, (self.config.templates, self.text_dim))

    def text_guidance(self, banks: Tensor) -> Tensor:
        """Text banks float [C, M, D] -> guidance of the aggregation among classes, float [C, guidance]."""
        return F.relu(self.text_projection(F.normalize(banks.mean(1), dim=-1)))

    def background_row(self) -> Tensor:
        """The condition of the background float [1, M * D], the same embedding for every prompt."""
        return F.normalize(self.background, dim=-1).repeat(1, self.config.templates)

    def conditions(self, rows: Tensor) -> JointConditions:
        """Conditions float [C, M * D] of names, with the background as the last row."""
        names = Conditions.names_only(torch.cat([rows, self.background_row().to(rows)]))
        return JointConditions(*names.arrays())


def similarities(patches: Tensor, banks: Tensor) -> Tensor:
    """Cosine similarities of all patches with all prompts: the cost volume.

    Args:
        patches: float [B, D, h, w] or, with a map for each class, [B, C, D, h, w]; normalised here where they are
            one for each class.
        banks: float [C, M, D], normalised.

    Returns:
        float [B, C, M, h, w].
    """
    size = patches.shape[-2:]
    if patches.dim() == 5:
        cost = banks @ F.normalize(patches, dim=2).flatten(3)
    else:
        cost = (banks.flatten(0, 1) @ patches.flatten(2)).unflatten(1, banks.shape[:2])
    return cost.unflatten(-1, size)


def guides(features: Features) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Guidance of the aggregation and of both steps of the decoder; None without a guidance backbone."""
    if len(features.levels) == 1:
        return None, None, None
    _, first, second, third = features.levels
    return first, second, third


def _squared(pixels: Tensor, side: int) -> Tensor:
    if tuple(pixels.shape[-2:]) == (side, side):
        return pixels
    return F.interpolate(pixels, size=(side, side), mode="bilinear", align_corners=False)
