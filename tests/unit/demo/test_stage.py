"""The throwaway place, and what is written into it for sshd."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mtr.config.load import load_config
from mtr.config.project import find_project
from mtr.demo.server import render_sshd_config
from mtr.demo.stage import build_environ, open_stage
from mtr.state import MAX_SOCKET_PATH_BYTES, SOCKET_NAME_BYTES


def test_the_environment_leads_to_the_throwaway_home_only() -> None:
    """No agent, runtime directory, repository or server of the user's is handed down."""
    mine = {"HOME": "/home/me", "SSH_AUTH_SOCK": "/x", "XDG_RUNTIME_DIR": "/run/me", "GIT_DIR": "/g", "MTR_SERVER": "s"}
    environ = build_environ({**mine, "PATH": "/bin", "LANG": "C"}, Path("/tmp/mtr-demo-x"))
    assert environ["HOME"] == "/tmp/mtr-demo-x/home"
    assert environ["XDG_RUNTIME_DIR"] == "/tmp/mtr-demo-x/run"
    assert (environ["PATH"], environ["LANG"]) == ("/bin", "C")
    assert not {"SSH_AUTH_SOCK", "GIT_DIR", "MTR_SERVER"} & set(environ)


def test_a_stage_is_complete_private_and_goes() -> None:
    """Project, configuration and keys are there, for this user alone; sockets fit; nothing is left."""
    with open_stage({"PATH": os.environ["PATH"], "NO_COLOR": "1"}) as stage:
        assert stage.dir.stat().st_mode & 0o777 == 0o700
        assert (stage.home / ".ssh" / "key").stat().st_mode & 0o077 == 0
        assert (stage.project / "train.py").is_file()
        assert len(f"{stage.dir}/run/mtr/") + SOCKET_NAME_BYTES <= MAX_SOCKET_PATH_BYTES
        server = load_config(find_project(stage.project), stage.environ).servers["demo"]
        assert (server.hosts, server.remote_dir) == (("demo",), str(stage.remote_dir))
        assert server.env == {"NO_COLOR": "1"}
    assert not stage.dir.exists()


def test_a_stage_goes_when_it_fails() -> None:
    """An error on stage leaves nothing either."""
    with pytest.raises(RuntimeError), open_stage(os.environ) as stage:
        raise RuntimeError
    assert not stage.dir.exists()


def test_sshd_gets_the_whole_environment_on_one_line() -> None:
    """sshd reads only its first SetEnv; values stand in quotes, and one that holds a quote stays out."""
    text = render_sshd_config(2222, "/tmp/d/server", "me", {"HOME": "/tmp/d/a b", "PATH": "/bin", "ODD": 'a"b'})
    assert 'SetEnv "HOME=/tmp/d/a b" "PATH=/bin"\n' in text
    assert text.count("SetEnv") == 1
    assert "Port 2222\nListenAddress 127.0.0.1\n" in text
