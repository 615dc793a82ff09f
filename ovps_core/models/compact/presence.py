"""Two decisions in place of one: whether an image shows a part, and where the part ends.

A network that meets pictures unlike its training set gives lower probabilities everywhere, but its maps keep
their shape. One threshold for both decisions then finds nothing. Here the peak of a map decides whether the
part is there, and the part ends where the map falls below a share of its own peak.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_SLOPE = 2.0  # makes pixels well inside a part about as sure as its presence


def log_odds(probability: Tensor) -> Tensor:
    """log(p / (1 - p)) of probabilities between 0 and 1, both excluded."""
    return probability.log() - (1 - probability).log()


def smooth_peak(probability: Tensor) -> Tensor:
    """Peak of each map float [B, Q, h, w] after a mean over 3 x 3 cells, since one odd cell is no part.

    Returns:
        float [B, Q, 1, 1].
    """
    return F.avg_pool2d(probability, 3, stride=1, padding=1).amax(dim=(2, 3), keepdim=True)


def two_decisions(
    probability: Tensor, *, scale: float, shift: Tensor | float, relative_cut: float, minimum: float
) -> Tensor:
    """Logits that are positive where a part is present and the pixel belongs to it.

    Args:
        probability: float [B, Q, h, w], one map per query.
        scale, shift: calibration of the presence: ``scale * log_odds(peak) + shift`` is its logit. A shift
            per query has the shape [Q, 1, 1].
        relative_cut: share of the peak at which a part ends.
        minimum: lower limit of probabilities, which keeps logits small enough for 16 bit.

    Returns:
        float [B, Q, h, w], the smaller of both decisions' logits.
    """
    if probability.shape[1] == 0:
        return probability  # pooling refuses maps of no query
    peak = smooth_peak(probability).clamp(minimum, 1 - minimum)
    presence = scale * log_odds(peak) + shift
    inside = log_odds(probability.clamp(minimum, 1 - minimum)) - log_odds(
        (relative_cut * peak).clamp(min=minimum)
    )
    return torch.minimum(presence, _SLOPE * inside)
