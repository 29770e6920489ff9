"""What an agent reaches under a policy: commands of agents alone, on servers that it may use, whichever way it asks."""

from __future__ import annotations

import json
import re
import threading
from typing import TYPE_CHECKING, Any

import pytest

from mtr.agent.agent import Agent
from mtr.agent.model import Order, TokenUnknown
from mtr.errors import MtrError
from mtr.policy import PolicyRefused
from tests.lab.agents import open_agent, play
from tests.lab.jobs import Jobs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mtr.agent.model import Look
    from tests.lab.home import Home


@pytest.fixture
def jobs(home: Home, project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    """The server's jobs; none outlives the test."""
    for name, value in home.environ.items():
        monkeypatch.setenv(name, value)
    made = Jobs(home, project)
    yield made
    made.close()


def set_policy(home: Home, **rules: Any) -> None:
    """Write the user's own policy."""
    folder = home.home / ".config" / "mtr"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(json.dumps({"policy": rules}))


def read_audit(home: Home) -> list[tuple[str, str, str]]:
    """Return tool, token and outcome of what stands in the audit log."""
    path = home.home / ".state" / "mtr" / "audit.log"
    lines = path.read_text().splitlines() if path.exists() else []
    entries = [entry for entry in map(json.loads, lines) if entry["event"] == "judged"]
    return [(entry["tool"], entry.get("token", ""), entry["outcome"]) for entry in entries]


def test_with_a_policy_a_persons_job_is_out_of_reach(home: Home, jobs: Jobs) -> None:
    """It is neither read, ended, written to nor listed, by token or as a resource; each attempt stands in the log."""
    job = jobs.start("sh", "-c", "echo hidden; exec sleep 600")
    jobs.prints(job, b"hidden")
    set_policy(home, deny=["rm *"])

    async def act() -> None:
        async with open_agent(home, jobs.project) as agent:
            for tool, more in (
                ("query_command_status", {}),
                ("terminate_command", {}),
                ("send_command_input", {"text": "x"}),
            ):
                words = await agent.fail(tool, token=job, **more)
                assert "no agent has started" in words
                assert "hidden" not in words
            assert (await agent.call("list_commands"))["commands"] == []
            for name in ("stdout", "stderr"):
                with pytest.raises(Exception, match="no agent has started"):
                    await agent.client.read_resource(f"mtr://jobs/{job}/{name}")
            assert job not in str(await agent.client.read_resource("mtr://jobs"))

    play(act)
    assert jobs.stands(job) == "running"
    tools = ["query_command_status", "terminate_command", "send_command_input", *["query_command_status"] * 2]
    assert read_audit(home) == [(tool, job, "refused") for tool in tools]


def test_without_a_policy_a_persons_job_can_be_watched_and_ended(jobs: Jobs) -> None:
    """An agent without one has what the person has, and what it ends stands in the log."""
    job = jobs.start("sh", "-c", "echo shown; exec sleep 600")
    jobs.prints(job, b"shown")
    agent = Agent(str(jobs.project), jobs.home.environ)
    assert agent.look(job, (0, 0), limit_bytes=99).stdout.data == b"shown\n"
    agent.terminate(job)
    assert jobs.ends(job).endswith(".stopped")
    assert read_audit(jobs.home) == [("terminate_command", job, "allowed")]


def test_what_an_agent_has_started_stays_in_reach_of_the_next(home: Home, jobs: Jobs) -> None:
    """The mark stands with the job: another process reads it, writes to it and ends it, and the log tells."""
    set_policy(home, deny=["rm *"])
    first = Agent(str(jobs.project), home.environ)
    token, _ = first.run(Order("read word; echo got $word; exec sleep 600", 900, keep_stdin=True))
    first.look(token, (0, 0), limit_bytes=9, wait_s=30)
    second = Agent(str(jobs.project), home.environ)
    assert [one.token for one in second.list_commands()[0]] == [token]
    second.send(token, b"x\n")
    assert second.look(token, (0, 0), limit_bytes=99, wait_s=20).stdout.data == b"got x\n"
    second.terminate(token)
    assert jobs.ends(token).endswith(".stopped")
    expected = [("run_command", ""), ("send_command_input", token), ("terminate_command", token)]
    assert read_audit(home) == [(*pair, "allowed") for pair in expected]


def test_a_server_that_is_not_for_agents_is_reached_in_no_way(home: Home, jobs: Jobs) -> None:
    """Also for a command that an agent started there before the policy said so: it is read as it stands now."""
    agent = Agent(str(jobs.project), home.environ)
    token, _ = agent.run(Order("exec sleep 600", 900))
    agent.look(token, (0, 0), limit_bytes=9, wait_s=1)
    set_policy(home, servers=["local"])
    home.trust(jobs.project)
    refused = pytest.raises(PolicyRefused, match="lab")
    with refused:
        agent.look(token, (0, 0), limit_bytes=9)
    with refused:
        agent.send(token, b"x")
    with refused:
        agent.terminate(token)
    with refused:
        agent.list_commands("lab")
    with refused:
        agent.list_commands()
    with refused:
        agent.sync()
    assert jobs.stands(token) == "running"


def test_starts_at_once_do_not_pass_the_cap_together(home: Home, jobs: Jobs) -> None:
    """Of many threads as many start as may run at once, and no more."""
    set_policy(home, max_running=3)
    agent = Agent(str(jobs.project), home.environ)
    started: list[str] = []
    refused: list[MtrError] = []

    def start() -> None:
        try:
            started.append(agent.run(Order("exec sleep 600", 900), "local")[0])
        except PolicyRefused as error:
            refused.append(error)

    threads = [threading.Thread(target=start) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    agent.close()
    assert (len(started), len(refused)) == (3, 37)


def test_a_yes_counts_for_the_question_that_was_asked(home: Home, jobs: Jobs) -> None:
    """What the policy forbids by now does not run; a no stays a no, whatever the policy says by now."""
    set_policy(home, confirm=["touch *"])
    agent = Agent(str(jobs.project), home.environ)
    order = Order("touch made", 30, sync=False)
    asked = agent.judge(order, "local", can_ask=True)[1]
    set_policy(home, deny=["touch *"])
    with pytest.raises(PolicyRefused, match="forbids"):
        agent.run(order, "local", verdict=asked.settle(is_confirmed=True))
    set_policy(home, deny=["rm *"])
    with pytest.raises(PolicyRefused, match="said no"):
        agent.run(order, "local", verdict=asked.settle(is_confirmed=False))
    set_policy(home, confirm=["touch *"])
    with pytest.raises(PolicyRefused, match="another question"):
        agent.run(Order("touch other", 30), "local", verdict=asked.settle(is_confirmed=True))
    assert not (jobs.project / "made").exists()


def test_the_policys_cap_of_an_answer_counts(home: Home, jobs: Jobs) -> None:
    """For output and files; the rest is read with the next calls."""
    set_policy(home, max_output=1000)

    async def act() -> None:
        async with open_agent(home, jobs.project) as agent:
            token = await agent.run("seq 1 1000")
            found = await agent.ends(token)
            assert (len(found["stdout"]), found["more"], found["caps"]["max_bytes"]) == (1000, True, 1000)
            (home.remote(jobs.project) / "long").write_text("x" * 5000)
            part = await agent.call("get_file", path="long", max_bytes=4000)
            assert (len(part["text"]), part["more"], part["caps"]["max_bytes"]) == (1000, True, 1000)

    play(act)


def test_an_edited_configuration_counts_for_the_next_call(home: Home, jobs: Jobs) -> None:
    """What was opened with an older one is not used: files come from the directory that was judged."""
    agent = Agent(str(jobs.project), home.environ)
    for name in ("old", "new"):
        place = home.server.home_of("bash") / home.dir.name / name
        place.mkdir(parents=True)
        (place / "x").write_text(name)
        home.configure(jobs.project, remote_dir=f"~/{home.dir.name}/{name}")
        assert agent.read_file("x", offset=0, limit_bytes=99).data == name.encode()


@pytest.mark.parametrize(
    "token", ["../x", "/etc/passwd", "\0", "\ud800", "ä" * 200, "a" * 5000, "²", " ", "", "0" * 64]
)
def test_a_token_that_is_none_is_unknown(home: Home, jobs: Jobs, token: str) -> None:
    """Whatever it holds, and without a look at any file of that name."""
    agent = Agent(str(jobs.project), home.environ)
    with pytest.raises(TokenUnknown):
        agent.look(token, (0, 0), limit_bytes=9)
    with pytest.raises(TokenUnknown):
        agent.terminate(token)


@pytest.mark.parametrize("where", ["lab", "local"])
def test_a_directory_that_is_missing_is_an_error_and_is_not_made(home: Home, jobs: Jobs, where: str) -> None:
    """Relative, below home, and absolute; one that is there counts from the project's."""
    agent = Agent(str(jobs.project), home.environ)
    root = jobs.project if where == "local" else home.remote(jobs.project)
    missing = ("src/none", "none", f"~/{home.dir.name}/none", f"{root}/none")
    for directory in missing:
        try:
            words = end(agent, agent.run(Order("pwd", 30, directory=directory), where)[0]).error
        except MtrError as error:
            words = error.message
        assert re.search("none.* does not exist|no directory .*none", words), words
    assert not [*home.dir.rglob("none"), *home.server.home_of("bash").rglob("none")]
    for directory in ("src", "./src/", f"{root}/src"):
        look = end(agent, agent.run(Order("pwd", 30, directory=directory), where)[0])
        assert (look.stdout.data.decode(), look.error) == (f"{root}/src\n", "")
    agent.close()


def test_with_a_policy_no_link_of_the_server_leads_out(home: Home, jobs: Jobs) -> None:
    """Neither read, nor brought, nor written through; links within the project are followed."""
    agent = Agent(str(jobs.project), home.environ)
    agent.sync()
    there, secret = home.remote(jobs.project), home.server.home_of("bash") / "secret"
    secret.write_text("s")
    try:
        for name, target in (("out", secret), ("up", ".."), ("in", "a.txt")):
            (there / name).symlink_to(target)
        assert agent.read_file("out", offset=0, limit_bytes=9).data == b"s"
        set_policy(home, deny=["rm *"])
        for name in ("out", f"up/{there.name}/../../secret", "up/*"):
            with pytest.raises(MtrError, match=r"leads out|outside|no such file"):
                agent.read_file(name, offset=0, limit_bytes=9)
            with pytest.raises(MtrError, match=r"leads out|outside|no such file"):
                agent.download(name, "got/")
            with pytest.raises(PolicyRefused):
                agent.write_file(name, b"x")
        assert (secret.read_text(), (jobs.project / "got").exists()) == ("s", False)
        assert agent.read_file("in", offset=0, limit_bytes=9).data == b"one\n"
        assert agent.download("in", "got/").files == 1
    finally:
        secret.unlink()


def end(agent: Agent, token: str) -> Look:
    """Return how the command stands once it has ended."""
    while (look := agent.look(token, (0, 0), limit_bytes=9999, wait_s=20)).status != "completed":
        pass
    return look
