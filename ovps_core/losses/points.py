"""Masks compared at sampled points instead of at all pixels (PointRend, Kirillov et al., CVPR 2020)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ovps_core.models.openseed.denoising import Uniform

_OVERSAMPLING = 3.0
_UNCERTAIN_SHARE = 0.75


def sample_points(masks: Tensor, points: Tensor) -> Tensor:
    """Bilinear values of masks at points.

    Args:
        masks: float [N, h, w].
        points: float [N, P, 2], (x, y) in 0..1.

    Returns:
        float [N, P].
    """
    grid = 2 * points[:, None] - 1
    return F.grid_sample(masks[:, None], grid, align_corners=False)[:, 0, 0]


@torch.no_grad()
def uncertain_points(mask_logits: Tensor, num_points: int, uniform: Uniform = torch.rand) -> Tensor:
    """Points of which three quarters are where the logits are closest to 0, the others anywhere.

    Args:
        mask_logits: float [N, h, w].
        num_points: P.
        uniform: source of random numbers.

    Returns:
        float [N, P, 2], (x, y) in 0..1.
    """
    count = len(mask_logits)
    device, dtype = mask_logits.device, mask_logits.dtype
    candidates = uniform((count, int(num_points * _OVERSAMPLING), 2)).to(device, dtype)
    num_uncertain = int(_UNCERTAIN_SHARE * num_points)
    certainty = sample_points(mask_logits, candidates).abs()
    nearest = certainty.topk(num_uncertain, dim=1, largest=False).indices
    points = candidates.gather(1, nearest[..., None].expand(-1, -1, 2))
    anywhere = uniform((count, num_points - num_uncertain, 2)).to(device, dtype)
    return torch.cat([points, anywhere], 1)
