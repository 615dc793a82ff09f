"""Two decisions of the compact model: whether a part is there, and where it ends."""

from __future__ import annotations

import torch

from ovps_core.models.compact.presence import log_odds, two_decisions


def blob(peak: float) -> torch.Tensor:
    """A map [1, 1, 16, 16] with a square of ``peak`` on a hundredth of it."""
    probability = torch.full((1, 1, 16, 16), peak / 100)
    probability[..., 4:10, 4:10] = peak
    return probability


def decide(probability: torch.Tensor, threshold: float) -> torch.Tensor:
    shift = -log_odds(torch.tensor(threshold))
    return two_decisions(probability, scale=1.0, shift=shift, relative_cut=0.3, minimum=1e-4)


def test_a_dim_map_has_the_same_outline_as_a_bright_one() -> None:
    bright, dim = decide(blob(0.9), 0.05) > 0, decide(blob(0.1), 0.05) > 0
    assert bright.sum() == 36
    torch.testing.assert_close(bright, dim)


def test_a_peak_below_the_threshold_gives_no_part() -> None:
    assert not (decide(blob(0.1), 0.2) > 0).any()


def test_a_single_odd_cell_is_no_part() -> None:
    probability = torch.full((1, 1, 16, 16), 0.01)
    probability[..., 8, 8] = 0.9
    assert not (decide(probability, 0.2) > 0).any()


def test_logits_stay_small_enough_for_16_bit() -> None:
    for peak in (0.0, 1.0):
        assert decide(torch.full((1, 1, 4, 4), peak), 0.5).abs().max() < 40


def test_no_query_has_no_map() -> None:
    maps = torch.zeros(1, 0, 8, 8)
    found = two_decisions(maps, scale=1.0, shift=0.0, relative_cut=0.5, minimum=1e-4)
    assert found.shape == maps.shape
