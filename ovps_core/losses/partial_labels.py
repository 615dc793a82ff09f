"""Loss for pixels of which only is known what they do not show."""

from __future__ import annotations

from torch import Tensor


def absent_class_loss(log_probability: Tensor, unknown: Tensor, absent: Tensor) -> Tensor:
    """Mean of -log(1 - p), where p is the probability of all classes known to be absent at a pixel.

    A photograph in which every mug is labelled shows no mug outside of the labels, whatever else it shows
    there. This is the likelihood of a complementary label (Ishida et al., NeurIPS 2017) for a set of classes.

    Args:
        log_probability: float [B, C, h, w], a log softmax over C.
        unknown: bool [B, h, w], pixels without a label.
        absent: bool [B, C], classes that the unknown pixels of an image do not show.

    Returns:
        A scalar; 0 if no unknown pixel has an absent class.
    """
    counted = unknown & absent.any(1)[:, None, None]
    weights = absent.to(log_probability.dtype)
    # not an einsum: its sum in 16 bits could exceed 1
    mass = (log_probability.exp() * weights[:, :, None, None]).sum(1)
    loss = -(1 - mass.float().clamp(max=1 - 1e-4)).log() * counted
    mean: Tensor = loss.sum() / counted.sum().clamp(min=1)
    return mean
