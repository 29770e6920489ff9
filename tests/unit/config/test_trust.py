"""Trust: which values of a project's files ask, and what was allowed for which values."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from mtr.config.source import parse_source
from mtr.config.trust import (
    Claim,
    ensure_trusted,
    find_claim,
    find_file,
    is_trusted,
    judge_option,
    leads_out,
    revoke_trust,
    store_trust,
)
from mtr.errors import ConfigError, NotTrusted

if TYPE_CHECKING:
    from pathlib import Path

    from mtr.config.source import Source
    from tests.unit.config.workplace import Workplace

BY_COMMAND = "servers: {gpu: {host: 10.0.0.1, password_command: pass show gpu}}"

RUNNING = {
    "ProxyCommand": "nc %h %p",
    "proxycommand": "x",
    "PROXYCOMMAND": "None ",
    "LocalCommand": "x",
    "PermitLocalCommand": True,
    "KnownHostsCommand": "/bin/x",
    "PKCS11Provider": "x.so",
    "SecurityKeyProvider": "x.so",
    "XAuthLocation": "x",
    "Include": "x",
    "SmartcardDevice": "x.so",
}
GIVING = {
    "SendEnv": "*",
    "ForwardAgent": True,
    "ForwardX11": "yes",
    "ForwardX11Trusted": "yes",
    "GSSAPIDelegateCredentials": "yes",
    "RemoteForward": "1 a:1",
    "IdentityAgent": "/tmp/x",
    "AddKeysToAgent": "yes",
}
WEAKENING = {
    "StrictHostKeyChecking": False,
    "stricthostkeychecking": "accept-new",
    "UserKnownHostsFile": "/dev/null",
    "GlobalKnownHostsFile": "x",
    "HostKeyAlias": "other",
    "HostKeyAlgorithms": "ssh-rsa",
    "NoHostAuthenticationForLocalhost": "yes",
    "VerifyHostKeyDNS": "yes",
    "Ciphers": "3des-cbc",
    "ControlPath": "/tmp/x",
    "SomethingOfTheFuture": "x",
    "IdentityFile": "${SECRET}",
}
PLAIN = {
    "ProxyJump": "me@bastion:22,[::1]:2",
    "Compression": True,
    "ConnectTimeout": 5,
    "ServerAliveInterval": 15,
    "Hostname": "%h.example.org",
    "Port": 22,
    "User": "dev",
    "IdentityFile": "~/.ssh/id_%r",
    "ForwardAgent": False,
    "StrictHostKeyChecking": True,
    "ProxyCommand": "none",
    "SetEnv": "A=b",
    "PreferredAuthentications": "publickey,password",
}


def claim_of(place: Workplace, project: str = "", **more: str) -> Claim:
    claim = place.load(project, **more).claim
    assert claim is not None
    return claim


@pytest.mark.parametrize(("name", "value"), [*RUNNING.items(), *GIVING.items(), *WEAKENING.items()])
def test_an_option_that_is_not_harmless_asks(place: Workplace, name: str, value: object) -> None:
    """Whatever its case; one that nobody has heard of asks as well."""
    text = "yes" if value is True else "no" if value is False else value
    config = place.load(f"servers: {{gpu: {{ssh_options: {{{name}: '{text}'}}}}}}")
    assert config.servers["gpu"].claim == config.claim
    assert config.claim is not None
    assert [value.path for value in config.claim.values] == [("servers", "gpu", "ssh_options", name)]


@pytest.mark.parametrize(("name", "value"), PLAIN.items())
def test_a_harmless_option_never_asks(name: str, value: object) -> None:
    """Nor the careful choice of one of the others."""
    assert judge_option(name, "yes" if value is True else "no" if value is False else str(value)) == ""


def test_plain_keys_never_ask(place: Workplace) -> None:
    """What says where the server is and what runs there is nobody's secret and no program here."""
    text = (
        "defaults: {env: {A: b}, exclude: [x], user: me}\n"
        "servers: {gpu: {host: [a, b], port: 22, key_filename: k, remote_dir: ~/x, pre_cmd: x, password: p}}"
    )
    assert place.load(text).claim is None


@pytest.mark.parametrize("name", ["Hostname", "ProxyJump", "hostkeyalias", "USER"])
@pytest.mark.parametrize("value", ["x;touch y", "$(x)", "`x`", "-oProxyCommand=x"])
def test_a_name_that_a_shell_would_run_is_refused(place: Workplace, name: str, value: str) -> None:
    """ssh hands names to the user's own ProxyCommand and Match exec: trust cannot help there."""
    with pytest.raises(ConfigError, match="characters that no destination has"):
        place.load(f"servers: {{gpu: {{ssh_options: {{{name}: '{value}'}}}}}}")


@pytest.mark.parametrize("value", ["a,-oProxyCommand=x", "me@-oX", "ssh://-x"])
def test_a_hop_that_is_an_option_is_refused(place: Workplace, value: str) -> None:
    """Behind every character at which ssh parts the hops of a ProxyJump."""
    with pytest.raises(ConfigError, match="characters that no destination has"):
        place.load(f"servers: {{gpu: {{ssh_options: {{ProxyJump: '{value}'}}}}}}")


def test_the_users_own_configuration_is_trusted_always(place: Workplace) -> None:
    """It needs nobody's leave."""
    config = place.load(user="servers: {gpu: {password_command: x, ssh_options: {ProxyCommand: y}}}")
    assert (config.claim, config.servers["gpu"].claim) == (None, None)


@pytest.mark.parametrize("key", ["password_command: x", "password_env: X"])
def test_both_files_of_a_project_ask(place: Workplace, key: str) -> None:
    """``local.yaml`` may have been committed as well."""
    assert claim_of(place, local=f"servers: {{gpu: {{{key}}}}}").values[0].position.file == place.local_file
    assert claim_of(place, project=f"servers: {{gpu: {{{key}}}}}", local="{}").values


def test_a_server_without_such_values_asks_nothing(place: Workplace) -> None:
    """Only what counts for the chosen server does; a destination of the command line has the defaults."""
    config = place.load("servers: {gpu: {password_command: x}, other: {host: b}}")
    assert config.servers["other"].claim is None
    assert config.template.claim is None
    config = place.load("defaults: {ssh_options: {ProxyCommand: x}}\nservers: {other: {host: b}}")
    assert config.servers["other"].claim == config.template.claim == config.claim != None  # noqa: E711


def test_an_overridden_value_asks_nothing(place: Workplace) -> None:
    """What the stronger file has replaced does not count for the server."""
    config = place.load(BY_COMMAND, local="servers: {gpu: {password: x}}")
    assert config.servers["gpu"].password_command is None
    assert config.servers["gpu"].claim is None


def test_an_anchor_does_not_hide_a_value(place: Workplace) -> None:
    """Nor a merge key."""
    text = "servers: {a: &a {host: x, password_command: y}, b: {<<: *a}, c: *a}"
    config = place.load(text)
    assert [server.claim is not None for server in config.servers.values()] == [True, True, True]
    assert len(claim_of(place).values) == 3


def test_the_users_password_does_not_follow_a_host_of_the_project(place: Workplace) -> None:
    """A server of the user's own that the project sends elsewhere asks, with its password in either way."""
    own = "servers: {gpu: {host: 10.0.0.1, password_command: x}, free: {host: c}}"
    for text in ("host: evil", "port: 2222", "ssh_options: {Hostname: evil}", "ssh_options: {ProxyJump: evil}"):
        config = place.load(f"servers: {{gpu: {{{text}}}}}", user=own)
        assert config.servers["gpu"].claim is not None, text
    assert place.load("servers: {free: {host: d}}", user=own).claim is None
    assert place.load("servers: {gpu: {remote_dir: ~/x}}", user=own).claim is None
    lent = "servers: {gpu: {ssh_options: {ForwardAgent: yes}}}"
    assert place.load("servers: {gpu: {host: d}}", user=lent).servers["gpu"].claim is not None


def test_the_hash_is_of_just_those_values(place: Workplace) -> None:
    """Another key, place or checkout changes nothing; another value, key or server does."""
    first = claim_of(place, BY_COMMAND)
    for text in (f"# moved\n{BY_COMMAND}", BY_COMMAND.replace("10.0.0.1", "10.0.0.2"), f"default: gpu\n{BY_COMMAND}"):
        assert claim_of(place, text).digest == first.digest
    for text in (
        BY_COMMAND.replace("show", "rm"),
        BY_COMMAND.replace("gpu:", "cpu:"),
        BY_COMMAND.replace("_command", "_env").replace("pass show gpu", "X"),
    ):
        assert claim_of(place, text).digest != first.digest
    assert replace(first, root="/elsewhere").digest == first.digest


def test_trust_is_kept_for_a_project_and_its_values(place: Workplace) -> None:
    """Several projects and several sets of values stand beside each other; revoking forgets one project's."""
    claim = claim_of(place, BY_COMMAND)
    other = replace(claim, root=str(place.root / "other"))
    edited = replace(claim, values=(replace(claim.values[0], text="y"),))
    with pytest.raises(NotTrusted):
        ensure_trusted(claim, place.environ)
    store_trust(claim, place.environ)
    ensure_trusted(claim, place.environ)
    assert not is_trusted(other, place.environ)
    assert not is_trusted(edited, place.environ)
    store_trust(other, place.environ)
    store_trust(edited, place.environ)
    assert revoke_trust(claim.root, place.environ) == 2
    assert (is_trusted(claim, place.environ), is_trusted(other, place.environ)) == (False, True)


def test_what_is_kept_is_for_the_user_alone_and_holds_no_value(place: Workplace) -> None:
    """Mode 0600, in directories of mode 0700."""
    claim = claim_of(place, BY_COMMAND)
    store_trust(claim, place.environ)
    path = find_file(claim, place.environ)
    folder = os.path.dirname(path)
    modes = [os.stat(found).st_mode & 0o777 for found in (path, folder, os.path.dirname(folder))]
    assert modes == [0o600, 0o700, 0o700]
    with open(path) as file:
        assert "pass show" not in file.read()


def test_runs_at_the_same_time_keep_all_of_it(place: Workplace) -> None:
    """No project's trust is lost to another's."""
    claim = claim_of(place, BY_COMMAND)
    claims = [replace(claim, root=f"/p/{number % 20}") for number in range(100)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: store_trust(one, place.environ), claims[:20]))
    assert all(is_trusted(one, place.environ) for one in claims)
    assert len(os.listdir(os.path.dirname(find_file(claim, place.environ)))) == 20


def test_a_file_that_others_may_write_or_a_link_is_no_trust(place: Workplace) -> None:
    """Nor one with another content."""
    claim = claim_of(place, BY_COMMAND)
    store_trust(claim, place.environ)
    path = find_file(claim, place.environ)
    os.chmod(path, 0o622)  # noqa: S103  that is the point
    assert not is_trusted(claim, place.environ)
    os.chmod(path, 0o600)
    os.rename(path, f"{path}x")
    os.symlink(f"{path}x", path)
    assert not is_trusted(claim, place.environ)
    os.unlink(path)
    with open(path, "w") as file:
        file.write("{}")
    assert not is_trusted(claim, place.environ)


def test_a_variable_names_hashes(place: Workplace) -> None:
    """Several, parted by commas; a part of one is none."""
    claim = claim_of(place, BY_COMMAND)
    assert is_trusted(claim, {**place.environ, "MTR_TRUST": f"{'0' * 64}, {claim.digest.upper()}"})
    for text in ("", ",", claim.digest[:32], "*", "yes"):
        assert not is_trusted(claim, {**place.environ, "MTR_TRUST": text})


def test_the_error_names_the_values_and_what_to_do(place: Workplace) -> None:
    """File, line and column, key and value, with controls made visible; ``mtr trust``, or the hash for CI."""
    text = 'servers:\n  gpu:\n    ssh_options: {ProxyCommand: "x \\u009b2J\\u202ey"}\n'
    claim = claim_of(place, text)
    with pytest.raises(NotTrusted) as caught:
        ensure_trusted(claim, place.environ)
    assert f"{place.project_file}:3:33: servers.gpu.ssh_options.ProxyCommand: x \\x9b2J\\u202ey" in caught.value.detail
    assert caught.value.hint == f"mtr trust; in CI: MTR_TRUST={claim.digest}"


def test_variables_that_are_set_show_as_names_alone(place: Workplace) -> None:
    """Their values may be secrets."""
    shown = str(claim_of(place, "servers: {gpu: {ssh_options: {SetEnv: 'TOKEN=hunter2 B=$x'}}}").values[0])
    assert "TOKEN=*** B=***" in shown
    assert "hunter2" not in shown


def source_of(place: Workplace, owner: int, mode: int = 0o644, text: str = "servers: {gpu: {host: a}}") -> Source:
    return replace(parse_source(place.project_file, text.encode(), mode), owner=owner, digest=text)


def test_a_file_of_another_user_asks_for_all_of_it(place: Workplace) -> None:
    """As git refuses their repositories: a ``.mtr`` in /tmp may be anybody's. Root's files are taken."""
    claim = find_claim(place.root, None, [source_of(place, os.getuid() + 12345)])
    assert claim is not None
    assert "belongs to the user" in str(claim.values[0])
    other = find_claim(place.root, None, [source_of(place, os.getuid() + 12345, text="servers: {gpu: {host: b}}")])
    assert other is not None
    assert other.digest != claim.digest
    assert find_claim(place.root, None, [source_of(place, os.getuid()), source_of(place, 0)]) is None


def test_under_sudo_the_callers_files_are_taken(place: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    """As git takes them: whoever calls sudo may run anything already."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    caller = source_of(place, 12345)
    monkeypatch.setenv("SUDO_UID", "12345")
    assert find_claim(place.root, None, [caller]) is None
    monkeypatch.setenv("SUDO_UID", "12346")
    assert find_claim(place.root, None, [caller]) is not None


def test_a_file_that_everybody_may_write_asks_for_all_of_it(place: Workplace) -> None:
    """For every server; one that the group may write does not: that is what a umask of 002 makes."""
    place.load("servers: {gpu: {host: a}}")
    place.project_file.chmod(0o666)
    config = place.load()
    assert config.servers["gpu"].claim == config.template.claim == config.claim != None  # noqa: E711
    place.project_file.chmod(0o664)
    assert place.load().claim is None


def test_the_users_own_file_is_refused_when_everybody_may_write_it(place: Workplace) -> None:
    """As ssh refuses its own: all in it is trusted."""
    place.write(place.user_file, "defaults: {}", 0o606)
    with pytest.raises(ConfigError, match="everybody on this machine may write it"):
        place.load()


@pytest.mark.parametrize("name", ["/x", "~/x", "../x", "a/../../x", "..", ".git/hooks", "a/.GIT", ".mtr", "~"])
def test_a_download_dir_outside_of_the_project_needs_trust(place: Workplace, name: str) -> None:
    """Downloads alone ask for it: a run does not."""
    config = place.load(f"servers: {{gpu: {{download_dir: '{name}'}}}}")
    assert config.servers["gpu"].claim is None
    assert config.servers["gpu"].download_claim == config.claim != None  # noqa: E711


@pytest.mark.parametrize("name", ["downloads", "./a/b", "a/../b", "..a"])
def test_a_download_dir_inside_needs_none(name: str) -> None:
    """It is the project's own."""
    assert not leads_out(name)


def test_a_worktree_shares_the_trust_of_the_files_it_reads(place: Workplace, tmp_path: Path) -> None:
    """The root of trust is the directory whose ``.mtr`` was read."""
    assert claim_of(place, BY_COMMAND).root == str(place.root)
    deep = place.root / "a" / "b"
    deep.mkdir(parents=True)
    assert place.load(directory=deep).claim == claim_of(place)
