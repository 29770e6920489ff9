"""What an agent may ask of mtr, with no protocol in front: commands here and on servers, policy, audit log."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from mtr.agent import remote_commands
from mtr.agent.agent import Agent
from mtr.agent.model import Order, TokenUnknown
from mtr.agent.remote_commands import RemoteCommands, _Start
from mtr.audit import AuditFailed
from mtr.errors import ConnectionLost, ServerNotFound
from mtr.policy import ALLOWED, PolicyRefused, Verdict
from mtr.streams.command import TIMED_OUT
from tests.lab.jobs import Jobs
from tests.lab.processes import processes_mentioning, wait_until
from tests.lab.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mtr.agent.model import Look
    from mtr.jobs.look import JobLook
    from mtr.ssh.line import Line
    from tests.lab.home import Home

MANY = 50


@pytest.fixture
def jobs(home: Home, project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    """The server's jobs; none outlives the test."""
    for name, value in home.environ.items():
        monkeypatch.setenv(name, value)
    made = Jobs(home, project)
    yield made
    made.close()


@pytest.fixture
def agent(jobs: Jobs) -> Iterator[Agent]:
    """An agent in the project."""
    made = Agent(str(jobs.project), jobs.home.environ)
    yield made
    made.close()


def end(agent: Agent, token: str, *, piece_bytes: int = 1 << 20) -> tuple[Look, bytes, bytes]:
    """Read the command to its end; return the last look, and all of both outputs."""
    out, err, end_s = b"", b"", time.monotonic() + 60
    while time.monotonic() < end_s:
        look = agent.look(token, (len(out), len(err)), limit_bytes=piece_bytes, wait_s=10)
        assert look.stdout.start == len(out)
        out, err = out + look.stdout.data, err + look.stderr.data
        if look.status == "completed" and (len(out), len(err)) == (look.stdout.length, look.stderr.length):
            return look, out, err
    raise AssertionError(f"{token} has not ended: {look}")


def policy(home: Home, text: str) -> None:
    """Write the user's own policy."""
    folder = home.home / ".config" / "mtr"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(text)


@pytest.mark.parametrize("where", ["lab", "local"])
def test_a_command_is_read_in_pieces_while_it_runs(agent: Agent, jobs: Jobs, where: str) -> None:
    """Byte for byte, in pieces of any size, with its exact status, on the files as they are."""
    (jobs.project / "a.txt").write_text("edited\n")
    script = "cat a.txt; printf 'x\\000\\377'; echo oh >&2; while [ ! -e go ]; do sleep 0.05; done; echo more; exit 3"
    token, name = agent.run(Order(script, 60), where)
    assert name == where
    wait_until(lambda: agent.look(token, (10, 0), limit_bytes=99, wait_s=5).stderr.length == 3, "the first part")
    look = agent.look(token, (3, 0), limit_bytes=4)
    assert (look.status, look.exit_code, look.stdout.data, look.stderr.data) == ("running", None, b"ted\n", b"oh\n")
    root = jobs.project if where == "local" else jobs.home.remote(jobs.project)
    (root / "go").touch()
    look, out, err = end(agent, token, piece_bytes=5)
    assert (look.status, look.exit_code, out, err) == ("completed", 3, b"edited\nx\0\xffmore\n", b"oh\n")


@pytest.mark.parametrize("where", ["lab", "local"])
def test_a_time_out_ends_everything_and_keeps_what_was_printed(agent: Agent, where: str) -> None:
    """Exit code -1, no child is left, and the output before it is there."""
    token, _ = agent.run(Order("echo before; sleep 4711 & sleep 4711", 1), where)
    look, out, _ = end(agent, token)
    assert (look.exit_code, look.timeout_occurred, out) == (TIMED_OUT, True, b"before\n")
    wait_until(lambda: not processes_mentioning(["sleep 4711"]), "no sleep to be left")


@pytest.mark.parametrize("where", ["lab", "local"])
def test_a_terminal_input_and_the_end(agent: Agent, where: str) -> None:
    """A PTY keeps escape sequences; input reaches it, and a command on pipes; terminate ends all of it."""
    token, _ = agent.run(Order("printf '\\033[1mbold\\033[0m'; read -r x; echo \"got $x\"", 60, use_pty=True), where)
    wait_until(lambda: agent.look(token, (0, 0), limit_bytes=99).stdout.length, "its output")
    agent.send(token, b"word\n")
    look, out, _ = end(agent, token)
    assert out.startswith(b"\x1b[1mbold\x1b[0m")
    assert b"got word\r\n" in out
    assert look.exit_code == 0
    token, _ = agent.run(Order("cat", 60, keep_stdin=True), where)
    agent.send(token, b"all\n", end=True)
    assert end(agent, token)[1] == b"all\n"
    token, _ = agent.run(Order("sleep 4712 & sleep 4712", 60), where)
    wait_until(lambda: agent.look(token, (0, 0), limit_bytes=9).status == "running", "the start")
    agent.terminate(token)
    assert end(agent, token)[0].status == "completed"
    wait_until(lambda: not processes_mentioning(["sleep 4712"]), "no sleep to be left")


@pytest.mark.parametrize("where", ["lab", "local"])
def test_what_is_ended_while_it_starts_never_goes_on(agent: Agent, where: str) -> None:
    """However far the start had come; to end it once more is no error."""
    tokens = []
    for step_s in range(6):
        tokens.append(agent.run(Order("sleep 4714 & sleep 4714", 60, sync=False), where)[0])
        agent.look(tokens[-1], (0, 0), limit_bytes=1, wait_s=step_s / 10)
        agent.terminate(tokens[-1])
        agent.terminate(tokens[-1])
    assert {end(agent, token)[0].status for token in tokens} == {"completed"}
    assert not processes_mentioning(["sleep 4714"])


def test_commands_here_and_on_servers_are_told_by_their_age(agent: Agent) -> None:
    """Each with the time of its start, so that one list of both has the newest first."""
    tokens = []
    for where in ("local", "lab", "local"):
        tokens.append(agent.run(Order("true", 60, sync=False), where)[0])
        end(agent, tokens[-1])
    listed = {one.token: one.started_s for one in agent.list_commands()[0]}
    assert None not in listed.values()
    assert listed[tokens[0]] < listed[tokens[2]]  # a server counts whole seconds


def test_what_could_not_be_started_can_be_ended(agent: Agent) -> None:
    """It has ended already, and is left as it is."""
    token, _ = agent.run(Order("true", 60, directory="/proc/none/such"))
    assert end(agent, token)[0].exit_code == 125
    agent.terminate(token)
    assert end(agent, token)[0].exit_code == 125


def test_a_token_outlives_the_process_and_works_in_the_terminal(agent: Agent, jobs: Jobs) -> None:
    """Another agent, which knows nothing, finds the command by its token; so does mtr job."""
    token, _ = agent.run(Order("echo one; while [ ! -e go ]; do sleep 0.05; done; echo two", 60))
    wait_until(lambda: agent.look(token, (0, 0), limit_bytes=99).stdout.length, "its output")
    other = Agent(str(jobs.project), jobs.home.environ)
    (jobs.home.remote(jobs.project) / "go").touch()
    assert end(other, token)[1] == b"one\ntwo\n"
    assert jobs.mtr("job", "logs", token).stdout == b"one\ntwo\n"
    assert token in {listed.token for listed in other.list_commands("lab")[0]}


def test_what_cannot_be_started_says_why(agent: Agent) -> None:
    """A token is given at once; the reason comes with the look, as a command of mtr's that has failed."""
    token, _ = agent.run(Order("true", 60, directory="/proc/none/such"))
    look, _, _ = end(agent, token)
    assert (look.status, look.exit_code) == ("completed", 125)
    assert "/proc/none" in look.error
    with pytest.raises(ServerNotFound):
        agent.run(Order("true", 60), "nowhere")
    for unknown in ("12345678", "x", "../etc", ""):
        with pytest.raises(TokenUnknown):
            agent.look(unknown, (0, 0), limit_bytes=9)


@pytest.mark.parametrize("where", ["lab", "local"])
def test_a_directory_counts_from_the_projects_wherever_mtr_was_started(
    jobs: Jobs, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """From a subdirectory as well, whose relative path another thread's sync does not change."""
    (jobs.project / "sub" / "sub").mkdir(parents=True)
    (jobs.project / "sub" / "here.txt").touch()
    (jobs.project / "sub" / "sub" / "wrong.txt").touch()
    monkeypatch.chdir(jobs.project / "sub")
    agent = Agent(None, jobs.home.environ)
    monkeypatch.chdir("/")
    assert end(agent, agent.run(Order("ls", 60, directory="sub"), where)[0])[1] == b"here.txt\nsub\n"
    agent.close()


def test_a_start_that_a_broken_line_has_cut_off_may_have_come_through(agent: Agent, jobs: Jobs) -> None:
    """The server is asked: a job that is there is told as it stands, one that is not as what was said."""
    there = jobs.start("echo", "there")
    jobs.ends(there)
    end(agent, agent.run(Order("true", 60))[0])
    commands = agent._commands["lab"]
    assert isinstance(commands, RemoteCommands)
    for token in (there, "0badc0de"):
        start = commands._starts[token] = _Start(Order("echo there", 60))
        start.error = ConnectionLost("the line broke")
        start.is_over.set()
        agent._tokens[token] = "lab"
    look, out, _ = end(agent, there)
    assert (look.exit_code, out) == (0, b"there\n")
    look = agent.look("0badc0de", (0, 0), limit_bytes=9)
    assert (look.status, look.exit_code, look.error) == ("completed", 125, "the line broke")


def test_fifty_at_once(agent: Agent) -> None:
    """Each is read to its end by a thread of its own, byte for byte."""
    tokens = [agent.run(Order(f"seq {number} 20000", 120, sync=False))[0] for number in range(MANY)]
    wrong: list[Look] = []

    def read(number: int) -> None:
        look, out, _ = end(agent, tokens[number], piece_bytes=50_000)
        if out != b"".join(b"%d\n" % line for line in range(number, 20_001)):
            wrong.append(look)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(MANY)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(110)
    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []


def test_a_server_that_hangs_holds_up_nobody(home: Home, jobs: Jobs) -> None:
    """Commands elsewhere start, run and end, and the hanging one's token is there at once."""
    relay = Relay(home.server.port)
    try:
        home.configure(jobs.project, port=relay.port)
        agent = Agent(str(jobs.project), home.environ)
        assert end(agent, agent.run(Order("true", 60))[0])[0].exit_code == 0
        relay.stall()
        hanging, _ = agent.run(Order("echo late", 60))
        assert end(agent, agent.run(Order("echo here", 60), "local")[0])[1] == b"here\n"
        assert agent.look(hanging, (0, 0), limit_bytes=9).status == "pending"
        relay.resume()
        assert end(agent, hanging)[1] == b"late\n"
        agent.close()
    finally:
        relay.close()


ATTACKS = (
    "git status; id", "git status && id", "git status | id", "git status\nid", "git status & id", "git $(id)", "`id`",
    "git status > x", "/usr/bin/git status", "./git status", "env git status", "sh -c 'git status'",
    "GIT_PAGER=id git log", "git status $HOME", "git st*", "git {status,log}", "git 'status",
    "git status\\\nid", "git\u00a0status", "~/git status", "git status\x00id", "git log",
)  # fmt: skip


@pytest.mark.parametrize("command", ATTACKS)
def test_under_an_allow_list_nothing_hides_in_a_command(home: Home, jobs: Jobs, command: str) -> None:
    """Only the listed argv run, and by no shell; what was refused is in the audit log, and nothing was started."""
    policy(home, 'policy: {allow: ["git status", "echo *"]}\n')
    agent = Agent(str(jobs.project), home.environ)
    with pytest.raises(PolicyRefused):
        agent.run(Order(command, 30), "local")
    entries = [json.loads(line) for line in (home.home / ".state" / "mtr" / "audit.log").read_text().splitlines()]
    assert [entry["outcome"] for entry in entries] == ["refused"]
    assert agent.list_commands()[0] == []


def test_an_audit_log_that_cannot_be_written_is_said_once(home: Home, jobs: Jobs) -> None:
    """Without a policy the commands run all the same; a policy that comes into force refuses them."""
    (home.home / ".state" / "mtr" / "audit.log").mkdir(parents=True)
    said: list[str] = []
    agent = Agent(str(jobs.project), home.environ, say=said.append)
    for _ in range(3):
        assert end(agent, agent.run(Order("true", 60), "local")[0])[0].exit_code == 0
    assert len(said) == 1
    assert "audit.log" in said[0]
    policy(home, "policy: {max_timeout: 100}\n")
    with pytest.raises(AuditFailed):
        agent.run(Order("true", 60), "local")
    agent.close()


def test_a_policy_that_became_stricter_counts_for_what_was_confirmed(home: Home, jobs: Jobs) -> None:
    """What the person has seen runs with their yes, unless it is forbidden by then."""
    policy(home, 'policy: {confirm: ["touch *"]}\n')
    agent = Agent(str(jobs.project), home.environ)
    order = Order("touch made", 60)
    confirmed = agent.judge(order, "local", can_ask=True)[1].settle(is_confirmed=True)
    assert end(agent, agent.run(order, "local", verdict=confirmed)[0])[0].exit_code == 0
    policy(home, 'policy: {deny: ["touch *"]}\n')
    with pytest.raises(PolicyRefused, match="forbids"):
        agent.run(order, "local", verdict=confirmed)
    agent.close()


def test_threads_ask_for_clients_of_their_own(home: Home, jobs: Jobs) -> None:
    """What one client has asked for is never noted as another's."""
    agent = Agent(str(jobs.project), home.environ)

    def ask(name: str) -> None:
        agent.client = name
        for _ in range(10):
            agent.note(Verdict(ALLOWED, text=name), tool="test", server="local")

    threads = [threading.Thread(target=ask, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = [json.loads(line) for line in (home.home / ".state" / "mtr" / "audit.log").read_text().splitlines()]
    assert sorted(entry["client"] for entry in entries) == sorted("abcd" * 10)
    assert all(entry["client"] == entry["text"] for entry in entries)
    agent.close()


def test_every_end_is_noted_once(home: Home, jobs: Jobs) -> None:
    """Also of a command that was known to have ended before anybody looked, and when many look at once."""
    policy(home, "policy: {max_running: 1}\n")
    agent = Agent(str(jobs.project), home.environ)
    first, _ = agent.run(Order("true", 60), "local")
    wait_until(lambda: agent.list_commands("local")[0][0].status == "completed", "its end")
    second, _ = agent.run(Order("true", 60), "local")
    threads = [threading.Thread(target=end, args=(agent, token)) for token in (first, second) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    entries = [json.loads(line) for line in (home.home / ".state" / "mtr" / "audit.log").read_text().splitlines()]
    assert sorted(entry["token"] for entry in entries if entry["event"] == "ended") == sorted([first, second])
    agent.close()


@pytest.mark.parametrize("where", ["lab", "local"])
def test_an_allowed_command_runs_as_the_argv_that_was_judged(home: Home, jobs: Jobs, where: str) -> None:
    """Quotes are the policy's, no shell reads it again; its end is noted with the status."""
    policy(home, 'policy: {allow: ["echo *"], max_timeout: 100, max_running: 2}\n')
    home.trust(jobs.project)  # What its file says of the host: with an allow list, that is asked for.
    agent = Agent(str(jobs.project), home.environ)
    agent.client = "tester"
    token, _ = agent.run(Order("echo '$HOME `id`; x' 'a  b'", 30), where)
    look, out, _ = end(agent, token)
    assert out == b"$HOME `id`; x a  b\n", look
    with pytest.raises(PolicyRefused, match="100"):
        agent.run(Order("echo", 101), where)
    with pytest.raises(PolicyRefused):
        agent.run(Order("echo", 30, directory="../.."), where)
    entries = [json.loads(line) for line in (home.home / ".state" / "mtr" / "audit.log").read_text().splitlines()]
    assert [entry["event"] for entry in entries] == ["judged", "ended"], entries
    assert (entries[0]["client"], entries[0]["argv"]) == ("tester", ["echo", "$HOME `id`; x", "a  b"])
    assert (entries[1]["token"], entries[1]["exit"]) == (token, 0)
    agent.close()


def test_a_command_that_ends_during_a_look_has_all_its_output(
    agent: Agent, jobs: Jobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its outputs are looked at before itself: what it printed in between comes with the word that it has ended."""
    real, looks = remote_commands.look_at, []

    def look_late(line: Line, token: str, offsets: tuple[int, int], **limits: Any) -> JobLook:
        found = real(line, token, offsets, **limits)
        looks.append(found)
        if len(looks) > 1:
            return found
        # As though all of it had come behind the first look at the output.
        return replace(found, out=replace(found.out, data=b""))

    token, _ = agent.run(Order("echo last words", 60, sync=False))
    jobs.ends(token)
    monkeypatch.setattr(remote_commands, "look_at", look_late)
    look = agent.look(token, (0, 0), limit_bytes=1000)
    assert (look.status, look.stdout.data, look.stdout.is_last) == ("completed", b"last words\n", True)
    assert len(looks) == 2
    assert agent.look(token, (0, 0), limit_bytes=4).stdout.data == b"last"
    assert len(looks) == 3
