"""OpenSSH's own regression scenarios with ``mtr`` in the place of ``ssh``: the way there, configuration, refusals.

Each docstring says what ssh's suite claims, by the name of its script, and what mtr must do. Not repeated here:

- proxy jump over one and over two hops: test_connection.test_an_alias_of_ssh_config_needs_nothing_else and
  test_logins.test_two_jump_hosts
- localcommand: test_connection.test_a_users_own_ssh_settings_cannot_break_a_run
- a key exchange with nothing in common: test_logins.test_no_algorithm_in_common
- a forced command that runs nothing: test_faults.test_a_login_shell_that_runs_nothing
- envpass by what the server accepts: test_connection.test_the_environment_arrives_whatever_the_server_accepts
- a server that accepts connections and never answers: test_faults.test_a_server_that_never_answers
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from tests.lab.processes import wait_until
from tests.lab.relay import Relay
from tests.lab.scenario import expect_failure, expect_run, make_key
from tests.lab.sshd import PASSWORD, PASSWORD_USER

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.lab.home import Home
    from tests.lab.sshd import SshServer

    MakeServer = Callable[..., SshServer]
    MakeProject = Callable[..., Path]

pytestmark = pytest.mark.usefixtures("nothing_of_a_run_left")


def use_key(home: Home, options: str) -> None:
    """Let the person log in with a key of their own, which the server accepts with these ``options``."""
    path = home.home / ".ssh" / "own"
    public = make_key(path)
    (home.server.dir / "more_keys").write_text(f"{options} {public}")
    home.write_ssh_config(key=path)


def use_host(home: Home, project: Path, host: str, **more: object) -> None:
    """Let the project's server be ``host`` of ~/.ssh/config and nothing else."""
    keys = {"host": host, "remote_dir": f"~/{home.dir.name}/{project.name}", **more}
    (project / ".mtr" / "config.yaml").write_text(json.dumps({"servers": {"lab": keys}}))


# -- the way


def test_a_proxy_command_of_the_users_own(home: Home, project: Path, make_server: MakeServer) -> None:
    """proxy-connect: ProxyCommand is the way to the server, with its %h, %p and %r; mtr's sessions need it no more."""
    hop = make_server()
    (home.dir / "used").write_text("")
    inner = f"ssh -F {home.home}/.ssh/config -W %h:%p hop"
    home.write_ssh_config(
        f"Host box\n  HostName 127.0.0.1\n  Port {home.server.port}\n  User zsh\n"
        f"  ProxyCommand sh -c 'echo %h %p %r >>{home.dir}/used; exec {inner}'\n"
        f"Host hop\n  HostName 127.0.0.1\n  Port {hop.port}\n  User dash\n  StrictHostKeyChecking no\n"
    )
    use_host(home, project, "box")
    for _ in range(2):
        expect_run(home, project)
    assert (home.dir / "used").read_text() == f"127.0.0.1 {home.server.port} zsh\n"
    assert "Accepted publickey for dash" in hop.log.read_text()


def test_a_proxy_command_that_hands_over_a_socket(home: Home, project: Path) -> None:
    """connect-unix, proxy-use-fdpass: ProxyUseFdpass hands over a connected socket instead of two pipes."""
    code = (
        "import socket, sys; sock = socket.create_connection((sys.argv[1], int(sys.argv[2]))); "
        "out = socket.socket(fileno=1); socket.send_fds(out, [b'x'], [sock.fileno()])"
    )
    (home.dir / "pass.py").write_text(code)
    home.write_ssh_config(f"Host *\n  ProxyCommand {sys.executable} {home.dir}/pass.py %h %p\n  ProxyUseFdpass yes\n")
    expect_run(home, project)


def test_a_proxy_command_that_fails(home: Home, project: Path) -> None:
    """proxy-connect: what the command itself says is in mtr's error."""
    home.write_ssh_config("Host 127.0.0.1\n  ProxyCommand sh -c 'echo the tunnel is shut >&2; exit 3'\n")
    assert "the tunnel is shut" in expect_failure(home, project)


def test_a_jump_host_that_refuses_the_login(home: Home, project: Path, make_server: MakeServer) -> None:
    """proxyjump: the words of the hop that refuses are shown, and the server behind it is never asked."""
    hop = make_server("DenyUsers dash")
    home.write_ssh_config(
        f"Host box\n  HostName 127.0.0.1\n  Port {home.server.port}\n  User zsh\n  ProxyJump hop\n"
        f"Host hop\n  HostName 127.0.0.1\n  Port {hop.port}\n  User dash\n"
    )
    use_host(home, project, "box")
    logins = home.server.log.read_text().count("Accepted")
    words = expect_failure(home, project)
    assert "mtr: dash@127.0.0.1, on the way to lab (zsh@127.0.0.1:" in words
    assert "accepts no login" in words
    assert home.server.log.read_text().count("Accepted") == logins


def test_a_jump_host_cut_in_mid_command(home: Home, project: Path, make_server: MakeServer) -> None:
    """proxyjump: the line breaks at the hop: the run is told, the next one goes over a new way."""
    hop = make_server()
    relay = Relay(hop.port)
    try:
        home.write_ssh_config(
            f"Host box\n  HostName 127.0.0.1\n  Port {home.server.port}\n  User bash\n  ProxyJump hop\n"
            f"Host hop\n  HostName 127.0.0.1\n  Port {relay.port}\n  User dash\n  StrictHostKeyChecking no\n"
        )
        use_host(home, project, "box")
        process = home.popen_mtr(["sh", "-c", "echo started; read -r line; echo $line"], project, stdin=subprocess.PIPE)
        assert process.stdout
        assert process.stdout.readline() == b"started\n"
        relay.cut()
        out, err = process.communicate(timeout=30)
        assert (process.returncode, out) == (125, b"")
        assert b"broke while the command ran" in err
        expect_run(home, project)
    finally:
        relay.close()


# -- the configuration of ssh


def test_a_destination_as_a_uri(home: Home, project: Path) -> None:
    """connect-uri: ``mtr -s ssh://user@host:port`` goes where ``ssh ssh://user@host:port`` goes."""
    for uri in (f"ssh://zsh@127.0.0.1:{home.server.port}", f"ssh://zsh@127.0.0.1:{home.server.port}/"):
        done = home.run_mtr(["-s", uri, "--no-sync", "sh", "-c", "echo $USER"], home.dir)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"zsh\n", b"")


def test_includes_of_the_users_configuration(home: Home, project: Path) -> None:
    """cfginclude: files by pattern, one in another, inside a block for its hosts alone; an edit of one is noticed."""
    folder = home.home / ".ssh" / "conf.d"
    folder.mkdir(parents=True)
    (folder / "1.conf").write_text(f"Host box\n  HostName 127.0.0.1\n  Include {folder}/inner\n")
    (folder / "2.conf").write_text("Host other\n  User nobody\n")
    (folder / "inner").write_text(f"Port {home.server.port}\nUser dash\n")
    home.write_ssh_config(f"Include {folder}/*.conf\nInclude {folder}/none*\n")
    use_host(home, project, "box")
    show = ["sh", "-c", "echo $USER"]
    assert home.run_mtr(show, project).stdout == b"dash\n"
    (folder / "inner").write_text(f"Port {home.server.port}\nUser mksh\n")
    assert home.run_mtr(show, project).stdout == b"mksh\n"


def test_matches_of_the_users_configuration(home: Home, project: Path) -> None:
    """cfgmatch: originalhost, host, user, exec and final decide as for ssh; exec runs once, for the master."""
    home.write_ssh_config(
        "Match originalhost box\n  HostName 127.0.0.1\n"
        f'Match host 127.0.0.1 exec "echo %n >>{home.dir}/asked"\n  Port {home.server.port}\n'
        "Match originalhost box user mksh\n  User nobody\nMatch originalhost box\n  User tcsh\n"
        "Match originalhost elsewhere\n  Port 1\nMatch final all\n  Port 2\n"
    )
    use_host(home, project, "box")
    assert home.run_mtr(["sh", "-c", "echo $USER"], project).stdout == b"tcsh\n"
    asked = (home.dir / "asked").read_text()
    assert set(asked.split()) == {"box"}
    assert home.run_mtr(["sh", "-c", "echo $USER"], project).stdout == b"tcsh\n"
    assert (home.dir / "asked").read_text() == asked


def test_tokens_in_the_users_configuration(home: Home, project: Path) -> None:
    """host-expand, percent: %h in HostName, %n, %p, %r and %d in the names of files, ${VARIABLES} and ~."""
    key = home.home / "127.0.0.1-zsh"
    key.write_bytes(home.server.key.read_bytes())
    key.chmod(0o600)
    known = home.dir / f"known-box-{home.server.port}"
    known.write_text(home.known_hosts.read_text())
    home.write_ssh_config(
        f"Host box\n  HostName 127.0.0.1\n  Port {home.server.port}\n  User zsh\n  IdentitiesOnly yes\n"
        f"  UserKnownHostsFile {home.dir}/known-%n-%p\n  IdentityFile ${{HOME}}/%h-%r\n"
        "Host *.0.1\n  HostName %h\nHost 0.0.*\n  HostName 127.%h\n",
        key=home.dir / "no-key",
    )
    use_host(home, project, "box")
    expect_run(home, project)


def test_a_configuration_that_ssh_refuses(home: Home, project: Path) -> None:
    """cfgparse, sshcfgparse: a bad line is told with its file and number, before anything is touched."""
    home.write_ssh_config("Host *\n  NoSuchOption yes\n")
    words = expect_failure(home, project)
    assert "line 2" in words
    assert "nosuchoption" in words.lower()


def test_variables_that_the_server_sets(home: Home, make_project: MakeProject) -> None:
    """envpass, setenv: sshd's SetEnv and the user's own arrive; names that the server does not accept do not."""
    project = make_project("SetEnv FROM_SSHD=there", "AcceptEnv GOOD_*")
    first = "Host *\n  SetEnv GOOD_ONE=1 BAD_ONE=2 GOOD_TWO='two words'\n  SendEnv GOOD_S* BAD_S*\n"
    home.write_ssh_config(first)
    text = 'echo "$FROM_SSHD|$GOOD_ONE|$GOOD_TWO|${BAD_ONE-no}|$GOOD_SENT|${BAD_SENT-no}"'
    done = home.run_mtr(["sh", "-c", text], project, environ={"GOOD_SENT": "a b", "BAD_SENT": "x"})
    assert (done.stdout, done.stderr) == (b"there|1|two words|no|a b|no\n", b"")
    home.write_ssh_config(f"{first}  SendEnv -GOOD_S*\n")
    done = home.run_mtr(["sh", "-c", text], project, environ={"GOOD_SENT": "a b"})
    assert done.stdout == b"there|1|two words|no||no\n"


# -- what the server wants


@pytest.mark.parametrize("size", [0, 10, 1_000, 100_000])
def test_a_banner_of_any_size(home: Home, make_project: MakeProject, size: int) -> None:
    """banner: what the server says before the login is neither the command's output nor in mtr's way."""
    banner = home.dir / "banner"
    banner.write_text("banner " * (size // 7))
    expect_run(home, make_project(f"Banner {banner}"))


@pytest.mark.parametrize("way", ["sshd_config", "authorized_keys"])
def test_a_forced_command_that_runs_what_was_asked(home: Home, make_project: MakeProject, way: str) -> None:
    """forcecommand, key-options: one that passes SSH_ORIGINAL_COMMAND on is no hindrance, to syncs neither."""
    wrapper = 'exec /bin/sh -c \\"$SSH_ORIGINAL_COMMAND\\"'
    project = make_project(*(['ForceCommand exec /bin/sh -c "$SSH_ORIGINAL_COMMAND"'] if way == "sshd_config" else []))
    if way == "authorized_keys":
        use_key(home, f'restrict,command="{wrapper}"')
    (project / "big").write_bytes(os.urandom(3_000_000))
    expect_run(home, project)
    assert (home.remote(project) / "big").read_bytes() == (project / "big").read_bytes()


@pytest.mark.parametrize("options", ['command="echo forced"', 'no-pty,command="echo forced"'])
def test_a_forced_command_of_a_key(home: Home, make_project: MakeProject, options: str) -> None:
    """key-options: a key that can only run a command of its own cannot run mtr's; said with what it printed."""
    project = make_project()
    use_key(home, options)
    words = expect_failure(home, project)
    assert "login shell ran nothing" in words
    assert "     forced\n" in words
    assert f"a forced command: ssh -l bash -p {home.server.port} 127.0.0.1 true" in words


@pytest.mark.parametrize(("options", "has_tty"), [("no-pty", False), ("restrict", False), ("restrict,pty", True)])
def test_a_key_without_terminals(home: Home, make_project: MakeProject, options: str, has_tty: bool) -> None:
    """key-options: batch works; where the key may have no terminal, --tty has none, and the command runs without."""
    project = make_project()
    use_key(home, options)
    expect_run(home, project)
    done = home.run_mtr(["--tty", "sh", "-c", "test -t 0 && echo yes || echo no"], project)
    assert (done.returncode, done.stdout.split()) == (0, [b"yes" if has_tty else b"no"]), done.stderr


def test_an_account_for_files_alone(home: Home, make_project: MakeProject) -> None:
    """sftp-chroot, forcecommand: an account that may only speak SFTP runs nothing; told in the server's words."""
    project = make_project("ForceCommand internal-sftp")
    assert "This service allows sftp connections only." in expect_failure(home, project)


@pytest.mark.parametrize("option", ["-R", "-P write,setstat,fsetstat"])
def test_an_sftp_server_that_writes_nothing(home: Home, make_project: MakeProject, option: str) -> None:
    """sftp-perm: a sync by it is refused and starts nothing; ``mtr get`` and a sync by other ways go on."""
    project = make_project(f"Subsystem sftp internal-sftp {option}")
    home.configure(project, sync="sftp")
    done = home.run_mtr(["touch", "started"], project)
    assert (done.returncode, done.stdout) == (125, b"")
    assert b"Permission denied" in done.stderr
    assert not (home.remote(project) / "started").exists()
    home.configure(project)
    expect_run(home, project)
    assert home.run_mtr(["get", "src/b.py"], project).returncode == 0
    assert (project / "downloads" / "b.py").read_bytes() == (project / "src" / "b.py").read_bytes()


def test_variables_of_a_key(home: Home, make_project: MakeProject) -> None:
    """key-options: environment="…" of the key arrives in the command."""
    project = make_project("PermitUserEnvironment yes")
    use_key(home, 'environment="FROM_KEY=two words"')
    assert home.run_mtr(["sh", "-c", "echo $FROM_KEY"], project).stdout == b"two words\n"


@pytest.mark.parametrize("options", ['from="192.0.2.1"', 'expiry-time="19990101"'])
def test_a_key_that_is_not_valid_here_or_now(home: Home, make_project: MakeProject, options: str) -> None:
    """key-options: from= another place and an expiry-time in the past are a refused login."""
    project = make_project("PasswordAuthentication no")
    use_key(home, options)
    assert "accepts no login" in expect_failure(home, project)
    (home.server.dir / "more_keys").write_text(
        f'from="127.0.0.0/8",expiry-time="25250101" {(home.home / ".ssh" / "own.pub").read_text()}'
    )
    expect_run(home, project)


REFUSALS = ("DenyUsers bash", "AllowUsers nobody", "DenyGroups *", "PubkeyAcceptedAlgorithms rsa-sha2-512")


@pytest.mark.parametrize("line", REFUSALS, ids=lambda line: line.split()[0])
def test_a_user_who_may_not_log_in(home: Home, make_project: MakeProject, line: str) -> None:
    """allow-deny-users, limit-keytype: refused with the server's words; others of the same server are not."""
    project = make_project(line)
    words = expect_failure(home, project)
    assert "accepts no login" in words
    assert "Permission denied" in words


def test_no_method_that_takes_a_password(home: Home, make_project: MakeProject) -> None:
    """keyboard-interactive and password are off: a password in the configuration is no way in, and is not shown."""
    project = make_project("PasswordAuthentication no", "KbdInteractiveAuthentication no", user=PASSWORD_USER)
    words = expect_failure(home, project)
    assert "accepts no login" in words
    assert "publickey" in words
    assert PASSWORD not in words


def test_logins_that_are_never_finished(home: Home, make_project: MakeProject) -> None:
    """login-timeout, maxstartups: while others hold every place a login is refused, after LoginGraceTime it works."""
    project = make_project("MaxStartups 1", "LoginGraceTime 3s")
    with socket.create_connection(("127.0.0.1", home.server.port)) as idle:
        assert idle.recv(4).startswith(b"SSH")
        words = expect_failure(home, project)
        assert "closed the connection before any login" in words
        assert "too many logins" in words
        wait_until(lambda: not idle.recv(4096), "sshd to give the idle one up")
    expect_run(home, project)


GREETINGS = {
    b"HTTP/1.1 400 Bad Request\r\n\r\n": "before any login",
    b"SSH-1.5-old\r\n": "versions differ",
    b"": "before any login",
}


@pytest.mark.parametrize("greeting", GREETINGS)
def test_a_server_that_speaks_something_else(home: Home, project: Path, greeting: bytes) -> None:
    """proto-mismatch, proto-version: another protocol, one too old, or none: an error, soon, and nothing started."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def answer() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.sendall(greeting)

        thread = threading.Thread(target=answer)
        thread.start()
        home.configure(project, port=listener.getsockname()[1])
        words = expect_failure(home, project)
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
    assert GREETINGS[greeting] in words
