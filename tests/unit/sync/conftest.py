"""Fixtures for the tests of mtr/sync."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A directory for a project, outside any repository."""
    place = tmp_path / "project"
    place.mkdir()
    return place
