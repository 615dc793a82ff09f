"""The attention losses of PartCLIPSeg: separation (L_sep) and enhancement (L_enh).

Both read the self-attention A of one decoder block. The symbols are those of the paper (PartCLIPSeg,
"attention control"):

=========  =====================================================================================
``A_t``    attention of object-part t: the mean of its part's and its object's attention maps
``m_t``    pixels of object-part t
``M_o``    pixels of object o
``S_t``    attention that the pixels of ``m_t`` pay to every pixel
``G``      3x3 Gaussian smoothing
=========  =====================================================================================

Separation: two parts of an object must not attend to the same pixels. Enhancement: the part with the
least attention must get more.

Each loss exists twice. ``*_released`` equals the released code value for value. The other one follows
the paper's definition and has a useful gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ovps_core.language.vocabulary import IGNORE
from ovps_core.losses.labels import ObjectPartIndex, PartTargets

SMOOTHING_SIGMA = 0.5
SOFTNESS = 0.1
"""Width of the sigmoid that replaces the released threshold, in units of the normalised maps."""


@dataclass(frozen=True)
class PartAttention:
    """Attention of the K object-parts in an image, as seen from one object of that image.

    All maps have the size [h, w] of the attention's grid.

    Attributes:
        sums: float [K, h, w], 0 to the part's number of pixels: sum over the rows q in m_t of A_t[q, :].
            Rows of A_t sum to at most 1, so a whole map sums to at most that number, too.
        part_pixels: bool [K, h, w], m_t; may be empty for a part thinner than the grid.
        object_pixels: bool [h, w], M_o.
        belongs_to_object: bool [K], True for the object-parts of this object.
    """

    sums: Tensor
    part_pixels: Tensor
    object_pixels: Tensor
    belongs_to_object: Tensor


def object_part_attention(
    attention: Tensor, index: ObjectPartIndex, object_parts: Tensor
) -> Tensor:
    """A_t = (A_part + A_object) / 2 for each object-part.

    Args:
        attention: float [..., C, L, L], one map per name, 0 to 1.
        index: rows of the names.
        object_parts: int64 [K], the wanted object-parts.

    Returns:
        float [..., K, L, L], 0 to 1.
    """
    of_part = attention[..., index.part[object_parts], :, :]
    of_object = attention[..., index.object[object_parts], :, :]
    return (of_part + of_object) / 2


def attention_per_object(
    attention: Tensor,
    targets: PartTargets,
    index: ObjectPartIndex,
    grid: tuple[int, int],
    *,
    drop_last: bool,
    shifted: bool = False,
) -> Iterator[PartAttention]:
    """Yield one value per (image, object), for images that show at least one object-part.

    Args:
        attention: float [B, C, L, L], mean over heads; rows are queries. Tokens in front of the grid
            (the class token) are dropped.
        targets: labels at the size of the logits.
        index: rows of the names.
        grid: (h, w) of the attention's tokens.
        drop_last: as released: the list of objects loses its largest entry. That is the ignore label
            where there is an ignored pixel, and an object where there is none.
        shifted: see :func:`ovps_core.losses.labels.resize_labels`.
    """
    small = targets.resized(grid, shifted=shifted)
    prefix = attention.shape[-1] - grid[0] * grid[1]
    for image in range(attention.shape[0]):
        present = _labels_in(targets.object_parts[image])
        if present.numel() == 0:
            continue
        part_pixels = small.object_parts[image] == present[:, None, None]
        maps = object_part_attention(attention[image], index, present)
        sums = torch.einsum(
            "kq,kqp->kp", part_pixels.flatten(1).to(maps.dtype), maps[:, prefix:, prefix:]
        )
        object_labels = _labels_in(targets.objects[image])
        if drop_last and not bool((targets.objects[image] == IGNORE).any()):
            object_labels = object_labels[:-1]
        for label in object_labels:
            yield PartAttention(
                sums=sums.reshape(-1, *grid),
                part_pixels=part_pixels,
                object_pixels=small.objects[image] == label,
                belongs_to_object=index.object[present] == index.num_parts + label,
            )


def smooth(maps: Tensor) -> Tensor:
    """G: 3x3 smoothing with weights exp(-(x / 2 sigma)^2) per axis, reflected at the border.

    The exponent squares the whole fraction, as released, so the true standard deviation is
    sigma * sqrt(2).

    Args:
        maps: float [K, h, w], at least 2 by 2.

    Returns:
        float [K, h, w].
    """
    steps = torch.tensor([-1.0, 0.0, 1.0], dtype=maps.dtype, device=maps.device)
    line = torch.exp(-((steps / (2 * SMOOTHING_SIGMA)) ** 2))
    kernel = torch.outer(line, line)
    kernel = kernel / kernel.sum()
    padded = F.pad(maps[:, None], (1, 1, 1, 1), mode="reflect")
    return F.conv2d(padded, kernel[None, None])[:, 0]


def separation_loss_released(attention: PartAttention, threshold: float) -> Tensor:
    """L_sep as released: the share of attended pixels that two or more parts attend to.

    D_t = [G(minmax(S_t)) > threshold] inside M_o, and L_sep = #{sum_t D_t > 1} / #{sum_t D_t >= 1}.
    Comparisons have no gradient. All parts of the image count, also those of other objects.

    Returns:
        A scalar, 0 to 1.
    """
    attended = (smooth(_min_max(attention.sums)) > threshold) & attention.object_pixels
    count = attended.sum(dim=0)
    return (count > 1).sum() / ((count >= 1).sum() + 1e-9)


def separation_loss(
    attention: PartAttention, threshold: float, softness: float = SOFTNESS
) -> Tensor:
    """L_sep over soft maps: d_t = sigmoid((G(minmax(S_t)) - threshold) / softness) inside M_o.

    Each d_t is read as the probability that part t attends to the pixel, independently of the other
    parts. The number of attending parts then follows a Poisson binomial distribution. The loss is the
    expected number of pixels with two or more parts over the expected number with one or more. Where
    all d_t are 0 or 1, it equals the released value. Only the object's own parts count.

    Returns:
        A scalar, 0 to 1.
    """
    maps = smooth(_min_max(attention.sums[attention.belongs_to_object]))
    soft = torch.sigmoid((maps - threshold) / softness) * attention.object_pixels
    p_none = torch.ones_like(attention.object_pixels, dtype=soft.dtype)
    p_exactly_one = torch.zeros_like(p_none)
    for p in soft:  # one more part: the counts 0 and 1 of the Poisson binomial distribution
        p_exactly_one = p_exactly_one * (1 - p) + p_none * p
        p_none = p_none * (1 - p)
    return (1 - p_none - p_exactly_one).sum() / ((1 - p_none).sum() + 1e-9)


def enhancement_loss_released(attention: PartAttention) -> Tensor:
    """L_enh as released: 1 - min over t of max over the whole grid of G(S_t).

    S_t is the sum divided by the size of the whole grid, not by the part's number of pixels.

    Returns:
        A scalar, 0 to 1.
    """
    maps = smooth(attention.sums / attention.object_pixels.numel())
    return 1 - maps.flatten(1).amax(dim=1).amin().clamp(max=1.0)


def enhancement_loss(attention: PartAttention) -> Tensor:
    """L_enh as the paper defines it: 1 - min over t of max over m_t of G(S_t).

    S_t is the mean of A_t over the part's own pixels. Only the object's own parts with a pixel in the
    grid count; the loss is 0 if there is none. Rows of attention sum to 1 and G keeps a third of a
    single peak, so a part cannot reach less than 0.67.

    Returns:
        A scalar, 0 to 1.
    """
    visible = attention.belongs_to_object & attention.part_pixels.flatten(1).any(dim=1)
    if not bool(visible.any()):
        return attention.sums.new_zeros(())
    part_pixels = attention.part_pixels[visible]
    mean = attention.sums[visible] / part_pixels.flatten(1).sum(dim=1)[:, None, None]
    strongest = smooth(mean).masked_fill(~part_pixels, 0.0).flatten(1).amax(dim=1)
    return 1 - strongest.amin().clamp(max=1.0)


def _labels_in(labels: Tensor) -> Tensor:
    """Distinct labels of a map in rising order, without the ignored and the unknown one."""
    distinct: Tensor = torch.unique(labels)
    return distinct[distinct >= 0]


def _min_max(maps: Tensor) -> Tensor:
    """Each map of float [K, h, w] scaled to 0..1."""
    minimum = maps.flatten(1).amin(dim=1)[:, None, None]
    maximum = maps.flatten(1).amax(dim=1)[:, None, None]
    return (maps - minimum) / (maximum - minimum + 1e-9)
