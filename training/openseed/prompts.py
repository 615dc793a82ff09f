"""Prompts of class names in training: another wording in each step."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from ovps_core.models.openseed.text import TEMPLATES, plain_name


def random_prompt(name: str) -> str:
    """One random template with a data set's class name.

    Synonyms of Objects365 are divided by "/", of which one is taken. COCO's "floor-wood" becomes "wood floor", and
    LVIS' "alarm_clock" becomes "alarm clock".
    """
    synonyms = [each.strip() for each in name.lower().split("/") if each.strip()]
    words = plain_name(synonyms[_below(len(synonyms))]).replace(",", "")
    words = words.replace("+", " ").replace("_", " ")
    first, hyphen, second = words.partition("-")
    if hyphen:
        words = f"{second} {first}"
    return TEMPLATES[_below(len(TEMPLATES))](words)


def random_prompts(names: Sequence[str]) -> list[str]:
    """A random prompt of each name."""
    return [random_prompt(name) for name in names]


def _below(count: int) -> int:
    return int(torch.randint(count, ()))
