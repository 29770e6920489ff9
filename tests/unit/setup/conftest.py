"""A home and a project to set up, without a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.config.workplace import Workplace

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)
