"""What tests share: where the parity fixtures are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

FIXTURES = Path(os.environ.get("OVPS_FIXTURES") or Path(__file__).parent / "fixtures")


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """Inputs, weights and outputs of the original implementations."""
    return FIXTURES
