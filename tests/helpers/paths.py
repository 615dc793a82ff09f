"""Folders that tests read from."""

import os
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
ROOT = TESTS.parent
FIXTURES = Path(os.environ.get("OVPS_FIXTURES") or TESTS / "fixtures")
"""Inputs, weights and outputs of the original implementations."""
