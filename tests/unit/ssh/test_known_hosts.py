"""known_hosts files as sshd(8) writes them, beside what ssh-keygen says of them."""

from __future__ import annotations

import base64
import subprocess
from typing import TYPE_CHECKING

import pytest

from mtr.ssh.known_hosts import add_key, find_keys, render_fingerprint, render_name

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def public_key(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, bytes]:
    """A key as a server has one: its kind and its bytes."""
    path = tmp_path_factory.mktemp("key") / "k"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    kind, text = path.with_suffix(".pub").read_text().split()[:2]
    return kind, base64.b64decode(text)


@pytest.mark.parametrize(
    ("field", "name", "found"),
    [
        ("box", "box", True),
        ("BOX,other", "box", True),
        ("[box]:2222", "[box]:2222", True),
        ("box", "[box]:2222", False),
        ("*.example.com", "a.example.com", True),
        ("*.example.com,!b.example.com", "b.example.com", False),
        ("b?x", "box", True),
        ("[10.0.0.?]:22", "[10.0.0.7]:22", True),
    ],
)
def test_names_and_patterns(tmp_path: Path, public_key: tuple[str, bytes], field: str, name: str, found: bool) -> None:
    """Lists, patterns, ``!``, ports in brackets."""
    file = tmp_path / "known"
    file.write_text(f"{field} {public_key[0]} {base64.b64encode(public_key[1]).decode()} comment\n")
    assert bool(find_keys([str(file)], name)) is found


@pytest.mark.parametrize("is_hashed", [False, True])
def test_what_is_added_ssh_keygen_finds(tmp_path: Path, public_key: tuple[str, bytes], is_hashed: bool) -> None:
    """Behind a last line without its end, plain or hashed; and the fingerprint is ssh-keygen's."""
    file = tmp_path / "deep" / "known"
    file.parent.mkdir()
    file.write_text("# the last line is cut")
    add_key(str(file), "[box]:2222", *public_key, is_hashed=is_hashed)
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-F", "[box]:2222", "-f", file], capture_output=True, text=True, check=True
    )
    (found,) = find_keys([str(file)], "[box]:2222")
    assert (found.line, found.key) == (2, public_key[1])
    assert found.fingerprint.split()[1] in shown.stdout
    assert ("box" in file.read_text()) is not is_hashed


def test_odd_lines_say_nothing(tmp_path: Path, public_key: tuple[str, bytes]) -> None:
    """Comments, cut lines, letters that no base64 has; markers are told."""
    text = base64.b64encode(public_key[1]).decode()
    file = tmp_path / "known"
    file.write_bytes(
        b"# box\n\nbox\nbox ssh-ed25519\nbox ssh-ed25519 \xc3\xa4\xc3\xa4\n"
        b"|1|\xc3\xa4|x ssh-ed25519 AAAA\n|1| ssh-rsa AAAA\n" + f"@revoked box ssh-ed25519 {text}\n".encode()
    )
    assert [(key.line, key.marker) for key in find_keys([str(file), "/nonexistent"], "box")] == [(8, "@revoked")]


def test_names_of_hosts_and_kinds() -> None:
    """Port 22 goes without saying."""
    assert (render_name("box", 22), render_name("box", "2222")) == ("box", "[box]:2222")
    assert render_fingerprint("ecdsa-sha2-nistp256", b"x").startswith("ECDSA SHA256:")
