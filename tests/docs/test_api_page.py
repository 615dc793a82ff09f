"""docs/api.md says what the signatures and docstrings say, and has every public name."""

from __future__ import annotations

import re

from helpers.paths import ROOT

import ovps_core
from scripts.api_page import PAGE, api_page

TEXT = (ROOT / "docs" / "api.md").read_text("utf-8")


def test_the_page_is_current() -> None:
    assert api_page() == TEXT, "run: python -m scripts.api_page > docs/api.md"


def test_every_public_name_of_the_package_is_on_the_page() -> None:
    listed = {name for modules in PAGE.values() for names in modules.values() for name in names}
    assert set(ovps_core.__all__) <= listed


def test_no_markup_of_docstrings_is_left() -> None:
    assert not re.findall(r":\w+:`|(?<!`)``(?!`)", TEXT)
