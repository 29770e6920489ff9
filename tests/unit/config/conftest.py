"""Fixtures for the tests of mtr/config."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.config.workplace import Workplace

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    """A home and a project."""
    return Workplace(tmp_path)
