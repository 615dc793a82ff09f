"""The table of how well unknown words are read is the measured one."""

from __future__ import annotations

import re

import pytest
from core.language.test_resolver import outcomes
from helpers.paths import ROOT

PAGE = (ROOT / "docs" / "words.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("file", "synonyms", "others"),
    [
        ("held_out_synonyms.yaml", "held-out synonyms", "held-out words for other things"),
        (
            "development_words.yaml",
            "development synonyms",
            "development words for other things",
        ),
    ],
)
def test_the_table_has_the_measured_counts(file: str, synonyms: str, others: str) -> None:
    found = {name: len(words) for name, words in outcomes(file).items()}
    right, refused, wrong = found["right"], found["refused"], found["wrong"]
    assert row(synonyms) == (right + refused + wrong, right, refused, wrong)
    assert row(others) == (found["kept out"] + found["let in"], found["kept out"], found["let in"])


def row(title: str) -> tuple[int, ...]:
    """The count in a row's title and the first number of each of its cells."""
    line = re.search(rf"^\| (\d+) {title} \|(.*)\|$", PAGE, re.M)
    assert line, f"no row {title!r} in docs/words.md"
    cells = [re.match(r"\s*(\d+)", cell) for cell in line[2].split("|")]
    return (int(line[1]), *(int(cell[1]) for cell in cells if cell))
