"""The configuration as the original documents ask for it: default server, override, authentication."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mtr.config.passwords import load_password
from tests.unit.config.workplace import Workplace

if TYPE_CHECKING:
    from pathlib import Path

SERVERS = """
defaults:
  sync: rsync
  exclude: [".git", "__pycache__"]
servers:
  gpu-01:
    host: "192.168.1.10"
    user: "dev"
    key_filename: "~/.ssh/id_rsa"
    remote_dir: "/data/codes/project_x"
  fallback-node:
    host: "10.0.0.5"
    user: "dev"
    password: "hunter2"
    sync: "sftp"
"""


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


def test_load_default_server_explicit(place: Workplace):
    """The server that `default` names is chosen."""
    place.write(place.project_file, f"default: fallback-node\n{SERVERS}", 0o600)
    assert place.select().name == "fallback-node"


def test_load_default_server_implicit_first(place: Workplace):
    """Without `default` the first server of the file is chosen."""
    place.write(place.project_file, SERVERS, 0o600)
    assert place.select().name == "gpu-01"


def test_server_override(place: Workplace):
    """-s wins over `default`, and so does MTR_SERVER, with -s in front."""
    place.write(place.project_file, f"default: gpu-01\n{SERVERS}", 0o600)
    assert place.select("fallback-node").name == "fallback-node"
    place.environ["MTR_SERVER"] = "fallback-node"
    assert place.select().name == "fallback-node"
    assert place.select("gpu-01").name == "gpu-01"


def test_auth_config(place: Workplace):
    """A key and a password are both read; each server has what it says."""
    place.write(place.project_file, SERVERS, 0o600)
    by_key, by_password = place.select("gpu-01"), place.select("fallback-node")
    assert by_key.key_filename == place.home / ".ssh/id_rsa"
    assert load_password(by_key, place.environ) is None
    password = load_password(by_password, place.environ)
    assert by_password.key_filename is None
    assert password is not None
    assert password.reveal() == "hunter2"
    assert (by_key.sync, by_password.sync) == ("rsync", "sftp")
