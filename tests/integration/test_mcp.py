"""`mtr mcp` as agents have it: the SDK's own client, over stdio, with commands on a real server."""

from __future__ import annotations

import json
import os
import re
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest
from mcp import MCPError
from mcp_types import ElicitRequestParams, ElicitResult

from tests.lab.agents import find_servers, open_agent, play
from tests.lab.documents import CHECKOUT
from tests.lab.jobs import Jobs
from tests.lab.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.lab.home import Home


@pytest.fixture
def jobs(home: Home, project: Path) -> Iterator[Jobs]:
    """The jobs of a person; none outlives the test."""
    made = Jobs(home, project)
    yield made
    made.close()


def test_a_command_starts_at_once_and_is_asked_for_its_end(home: Home, jobs: Jobs) -> None:
    """The token comes before the command has run; then its output, its status and its time."""

    async def act() -> None:
        async with open_agent(home, jobs.project) as agent:
            token = await agent.run("cat a.txt; echo oops >&2; exit 3")
            found = await agent.ends(token)
            assert (found["stdout"], found["stderr"], found["exit_code"]) == ("one\n", "oops\n", 3)
            assert (found["stdout_length"], found["next_stdout_offset"], found["more"]) == (4, 4, False)
            assert found["execution_time"] >= 0
            assert not found["timeout_occurred"]

    play(act)


def test_a_short_command_is_one_call(home: Home, jobs: Jobs) -> None:
    """With wait_s the answer to run_command has the fields of query_command_status, once it has ended."""

    async def act() -> None:
        async with open_agent(home, jobs.project) as agent:
            found = await agent.call("run_command", command="printf 'zwölf\\n'", wait_s=40)
            assert (found["status"], found["exit_code"], found["stdout"]) == ("completed", 0, "zwölf\n")
            assert found["caps"]["timeout"] == 30
            assert found["server"] == "lab"

    play(act)


def test_the_audit_log_says_which_client_has_asked(home: Home, jobs: Jobs) -> None:
    """Whatever the tool is, and whether or not the client has run a command before."""

    async def act() -> None:
        async with open_agent(home, jobs.project) as agent:
            await agent.call("sync_files")
            await agent.call("put_file", path="made.txt", text="x")
            await agent.call("get_file", path="made.txt")
            await agent.ends(await agent.run("true"))

    play(act)
    entries = [json.loads(line) for line in (home.home / ".state" / "mtr" / "audit.log").read_text().splitlines()]
    told = {entry["tool"]: entry.get("client", "") for entry in entries if entry["event"] == "judged"}
    assert set(told) == {"sync_files", "put_file", "get_file", "run_command"}
    assert len({*told.values()}) == 1
    assert all(told.values())


def test_the_tools_tell_what_they_take_and_give(home: Home, project: Path) -> None:
    """Names, titles, words, both schemas, and what each may do; the parameters that older callers use are there."""

    async def act() -> None:
        async with open_agent(home, project) as agent:
            tools = {tool.name: tool for tool in (await agent.client.list_tools()).tools}
            assert agent.client.server_info is not None
            assert agent.client.server_info.name == "mtr"
            assert "run_command" in (agent.client.instructions or "")
            for tool in tools.values():
                assert tool.title
                assert len(tool.description or "") > 80
                assert tool.output_schema
                assert tool.annotations
                assert None not in (tool.annotations.read_only_hint, tool.annotations.destructive_hint)
                assert None not in (tool.annotations.idempotent_hint, tool.annotations.open_world_hint)
                assert all(told.get("description") for told in tool.input_schema["properties"].values()), tool.name
                assert tool.input_schema["additionalProperties"] is False
                assert '"title"' not in json.dumps([tool.input_schema, tool.output_schema])
            run = tools["run_command"].input_schema["properties"]
            defaults = {name: run[name].get("default") for name in run}
            assert defaults == {
                "command": None, "timeout": 30, "working_directory": None, "use_pty": False,
                "keep_stdin": False, "max_buffer_size": 10485760, "server": None, "sync": True, "wait_s": 0,
            }  # fmt: skip
            read = [f"{tool.description}{json.dumps(tool.input_schema)}" for tool in tools.values()]
            assert sum(map(len, read)) < 9_500, "a client puts all of it into each conversation"
            assert set(tools) == {
                "run_command", "query_command_status", "send_command_input", "terminate_command", "list_commands",
                "list_servers", "sync_files", "get_file", "put_file",
            }  # fmt: skip

    play(act)


def test_output_is_read_in_pieces_while_it_runs(home: Home, jobs: Jobs) -> None:
    """From the last offset on, nothing missing, nothing twice; a character that is cut stays for the next read."""

    async def act() -> None:
        async with open_agent(home, jobs.project) as agent:
            command = "printf 'a\\303'; until [ -e go ]; do sleep 0.1; done; printf '\\244b'; printf '\\377'"
            token = await agent.run(command)
            first = await agent.prints(token, "a")
            assert (first["status"], first["stdout"], first["next_stdout_offset"]) == ("running", "a", 1)
            assert first["stdout_length"] == 2
            assert not first["more"]
            (home.remote(jobs.project) / "go").touch()
            last = await agent.ends(token, stdout_offset=1)
            # What is no UTF-8 is there as it is, too.
            assert (last["stdout"], last["stdout_base64"], last["stdout_start"]) == ("äb\ufffd", "w6Ri/w==", 1)
            assert last["next_stdout_offset"] == last["stdout_length"] == 5

    play(act)


def test_an_answer_is_capped_and_says_so(home: Home, jobs: Jobs) -> None:
    """The cap is named, more is true, and the offsets read all of it; a wait that is too long is cut."""

    async def act() -> None:
        async with open_agent(home, jobs.project) as agent:
            token = await agent.run("seq 1 20000")
            await agent.ends(token)
            got, offset, answers = "", 0, 0
            while True:
                found = await agent.call(
                    "query_command_status", token=token, stdout_offset=offset, max_bytes=50_000, wait_s=1e6
                )
                assert len(found["stdout"]) <= 50_000 == found["caps"]["max_bytes"]
                assert found["caps"]["wait_s"] == 50
                got, offset, answers = got + found["stdout"], found["next_stdout_offset"], answers + 1
                if not found["more"]:
                    break
                assert str(offset) in found["hint"]
            assert got == "".join(f"{n}\n" for n in range(1, 20001))
            assert answers > 2
            huge = await agent.call("query_command_status", token=token, max_bytes=10**9)
            assert huge["caps"]["max_bytes"] == huge["caps"]["max_bytes_at_most"] == 1 << 20

    play(act)


def test_a_timeout_ends_all_of_it_and_keeps_what_it_had_printed(home: Home, jobs: Jobs) -> None:
    """Status -1, timeout_occurred, the output up to then; no process of it is left."""

    async def act() -> None:
        async with open_agent(home, jobs.project) as agent:
            token = await agent.run("echo begun; sleep 600 & sleep 600", timeout=2)
            found = await agent.ends(token)
            assert (found["exit_code"], found["timeout_occurred"], found["stdout"]) == (-1, True, "begun\n")
            assert "larger timeout" in found["hint"]
            # The keeper goes when it has written down how the command has ended.
            wait_until(lambda: not jobs.processes(token), "the end of its keeper")

    play(act)


def test_a_terminal_keeps_escape_sequences_and_takes_input(home: Home, jobs: Jobs) -> None:
    """What it prints comes byte for byte; what is sent is typed; the end of the input ends it."""

    async def act() -> None:
        async with open_agent(home, jobs.project) as agent:
            script = "printf '\\033[31mred\\033[0m '; test -t 0 && read -r word && echo \"got $word\"; cat"
            token = await agent.run(script, use_pty=True)
            await agent.prints(token, "\x1b[31mred\x1b[0m")
            sent = await agent.call("send_command_input", token=token, text="wörd\n")
            assert sent["sent_bytes"] == 6
            await agent.prints(token, "got wörd")
            await agent.call("send_command_input", token=token, end=True)
            assert (await agent.ends(token))["exit_code"] == 0
            assert "has ended" in await agent.fail("send_command_input", token=token, text="more\n")

    play(act)


def test_input_reaches_stdin_until_its_end_is_said(home: Home, jobs: Jobs) -> None:
    """Byte for byte, without a terminal; what is no input at all is refused before anything is sent."""

    async def act() -> None:
        async with open_agent(home, jobs.project) as agent:
            token = await agent.run("od -An -tx1", timeout=600, keep_stdin=True)
            await agent.call("send_command_input", token=token, base64="AP8=")
            await agent.call("send_command_input", token=token, text="é\n", end=True)
            assert (await agent.ends(token))["stdout"] == " 00 ff c3 a9 0a\n"
            assert "exclude" in await agent.fail("send_command_input", token=token, text="x", base64="eA==")
            assert "nothing to send" in await agent.fail("send_command_input", token=token)
            assert "no base64" in await agent.fail("send_command_input", token=token, base64="!")
            assert "takes no more input" in await agent.fail("send_command_input", token=token, text="x")

    play(act)


def test_terminating_ends_all_of_it_and_answers_with_how(home: Home, jobs: Jobs) -> None:
    """Also what has left its session; once more is no error."""

    async def act() -> None:
        async with open_agent(home, jobs.project) as agent:
            token = await agent.run("echo here; setsid sleep 600 & sleep 600", timeout=600)
            await agent.prints(token, "here")
            ended = await agent.call("terminate_command", token=token)
            assert (ended["status"], ended["stdout"]) == ("completed", "here\n")
            assert ended["exit_code"] in {128 + 15, 128 + 9}
            assert jobs.processes(token) == []
            assert (await agent.call("terminate_command", token=token))["exit_code"] == ended["exit_code"]

    play(act)


def test_a_token_outlives_a_server_that_was_killed(home: Home, jobs: Jobs) -> None:
    """kill -9 in the middle of a command; the next server tells of it from the first byte on, and lists it."""

    async def act() -> None:
        with pytest.raises(Exception):  # noqa: B017, PT011, PT012  however the client says that its server has gone
            async with open_agent(home, jobs.project) as agent:
                tokens.append(await agent.run("echo one; until [ -e go ]; do sleep 0.1; done; echo two", timeout=600))
                await agent.prints(tokens[0], "one")
                (server,) = find_servers()
                os.kill(server, signal.SIGKILL)
                await agent.call("list_servers")
        (home.remote(jobs.project) / "go").touch()
        async with open_agent(home, jobs.project) as agent:
            assert (await agent.ends(tokens[0]))["stdout"] == "one\ntwo\n"
            listed = await agent.call("list_commands")
            assert [(one["token"], one["status"]) for one in listed["commands"]] == [(tokens[0], "completed")]

    tokens: list[str] = []
    play(act)


def test_fifty_at_once(home: Home, jobs: Jobs) -> None:
    """All start, all are waited for at once, each has its own output; a wedged one holds up none."""

    async def act() -> None:
        async with open_agent(home, jobs.project) as agent:

            async def one(number: int) -> None:
                found = await agent.call("run_command", command=f"echo {number}", sync=False, wait_s=50, timeout=600)
                if found["status"] != "completed":
                    found = await agent.ends(found["token"])
                assert found["error"] == ""
                got[number] = found["stdout"]

            wedged = await agent.run("sleep 600", timeout=600)
            async with anyio.create_task_group() as group:
                group.start_soon(partial(agent.call, "query_command_status", token=wedged, wait_s=10))
                for number in range(50):
                    group.start_soon(one, number)
            assert got == {number: f"{number}\n" for number in range(50)}
            await agent.call("terminate_command", token=wedged)

    got: dict[int, str] = {}
    play(act)


def test_output_that_imitates_the_protocol_is_output(home: Home, jobs: Jobs) -> None:
    """Lines of JSON-RPC, and nothing that a child or this process prints, reach the client as messages."""

    async def act() -> None:
        async with open_agent(home, jobs.project) as agent:
            lines = '{"jsonrpc":"2.0","id":1,"result":{}}\n{"jsonrpc":"2.0","method":"notifications/cancelled"}\n'
            found = await agent.call("run_command", command=f"cat <<'X'\n{lines}X", wait_s=40)
            assert found["stdout"] == lines
            assert await agent.call("list_servers")

    play(act)


def test_a_call_that_is_cancelled_frees_its_thread_and_leaves_the_command(home: Home, jobs: Jobs) -> None:
    """The command goes on; the server answers others meanwhile and after."""

    async def act() -> None:
        async with open_agent(home, jobs.project) as agent:
            token = await agent.run("echo begun; until [ -e go ]; do sleep 0.1; done", timeout=600)
            begun = (await agent.prints(token, "begun\n"))["next_stdout_offset"]
            (server,) = find_servers()
            before = len([*Path(f"/proc/{server}/task").iterdir()])
            with anyio.move_on_after(1) as scope:
                async with anyio.create_task_group() as group:
                    for _ in range(20):
                        call = partial(agent.call, "query_command_status", token=token, stdout_offset=begun, wait_s=50)
                        group.start_soon(call)
            assert scope.cancelled_caught
            assert (await agent.call("query_command_status", token=token))["status"] == "running"
            # Threads stay for the next call for some seconds; those that wait on the server end with their slice.
            listed = [*Path(f"/proc/{server}/task").iterdir()]
            assert len(listed) <= before + 21
            (home.remote(jobs.project) / "go").touch()
            assert (await agent.ends(token))["exit_code"] == 0

    play(act)


def test_progress_is_told_to_who_asks(home: Home, jobs: Jobs) -> None:
    """While a call waits: how much the command has printed so far, each value more than the one before."""

    async def act() -> None:
        async with open_agent(home, jobs.project) as agent:

            async def note(progress: float, total: float | None, message: str | None) -> None:
                told.append((progress, message or ""))

            token = await agent.run("echo 12345; until [ -e go ]; do sleep 0.1; done", timeout=600)
            await agent.prints(token, "12345")
            arguments = {"token": token, "wait_s": 7, "wait_for": "end"}
            await agent.client.call_tool("query_command_status", arguments, progress_callback=note)
            assert len(told) >= 2
            assert told[0][1] == "running, 6 bytes so far"
            assert [value for value, _ in told] == sorted({value for value, _ in told})
            (home.remote(jobs.project) / "go").touch()
            await agent.ends(token)

    told: list[tuple[float, str]] = []
    play(act)


def test_an_unknown_token_is_an_answer(home: Home, project: Path) -> None:
    """Status not_found, with what to do; ending it is an error that says so."""

    async def act() -> None:
        async with open_agent(home, project) as agent:
            found = await agent.call("query_command_status", token="0123abcd")
            assert (found["status"], found["exit_code"], found["stdout"]) == ("not_found", None, "")
            assert "list_commands" in found["hint"]
            assert (await agent.call("query_command_status", token="../../etc"))["status"] == "not_found"
            assert "next: " in await agent.fail("terminate_command", token="0123abcd")

    play(act)


def test_errors_say_what_to_do_next(home: Home, project: Path) -> None:
    """A server that is none, arguments that are wrong, a command that cannot be started."""

    async def act() -> None:
        async with open_agent(home, project) as agent:
            words = await agent.fail("run_command", command="true", server="nowhere")
            assert "nowhere" in words
            assert "next: " in words
            assert "list_servers" in words
            words = await agent.fail("run_command", command="true", server="local", working_directory="nowhere")
            assert "does not exist" in words
            assert "next: " in words
            words = await agent.fail("run_command", command="true", timeout=-1)
            assert "timeout=-1: " in words
            assert "next: " in words
            assert "pydantic" not in words
            token = await agent.run("true", working_directory="/proc/not/there", sync=False)
            found = await agent.ends(token)
            assert found["exit_code"] == 125
            assert "/proc/not/there" in found["error"]

    play(act)


def test_an_argument_that_is_none_is_refused_and_told_what_there_is(home: Home, jobs: Jobs) -> None:
    """Left out without a word, timeout_s=3600 would be a timeout of 30 s; nothing is started."""

    async def act() -> None:
        async with open_agent(home, jobs.project) as agent:
            words = await agent.fail("run_command", command="touch never", timeout_s=3600, cwd="src")
            assert "takes no timeout_s" in words
            assert "takes no cwd" in words
            assert "next: call run_command again; it takes command (required), timeout, working_directory," in words
            assert "needs command" in await agent.fail("run_command")
            assert (await agent.call("list_commands"))["commands"] == []

    play(act)


def test_a_dialogue_that_is_none_says_how_to_start_one(home: Home, jobs: Jobs) -> None:
    """In the words of these tools, not of the library."""

    async def act() -> None:
        async with open_agent(home, jobs.project) as agent:
            token = await agent.run("sleep 60")
            await agent.call("query_command_status", token=token, wait_s=1)
            assert "keep_stdin=true" in await agent.fail("send_command_input", token=token, text="x")
            await agent.call("terminate_command", token=token)

    play(act)


def test_a_negative_offset_reads_the_end(home: Home, jobs: Jobs) -> None:
    """From a whole character on, in one call; where there is less, all of it. On servers, and here."""

    async def act() -> None:
        async with open_agent(home, jobs.project) as agent:
            for server in ("lab", "local"):
                token = await agent.run("seq 1 20000; echo zwölf >&2", server=server)
                await agent.ends(token)
                found = await agent.call("query_command_status", token=token, stdout_offset=-12, stderr_offset=-4)
                assert (found["stdout"], found["stdout_start"]) == ("19999\n20000\n", 108882)
                assert (found["stderr"], found["stderr_start"]) == ("lf\n", 4)
                assert "stderr_base64" not in found
                assert (found["next_stdout_offset"], found["more"]) == (108894, False)
                found = await agent.call("query_command_status", token=token, stderr_offset=-99)
                assert (found["stderr"], found["more"]) == ("zwölf\n", True)
            found = await agent.call("query_command_status", token="0123abcd", stdout_offset=-1)
            assert found["status"] == "not_found"

    play(act)


def test_an_answer_holds_nothing_that_says_nothing(home: Home, jobs: Jobs) -> None:
    """Its size is paid for with each look of a long watch; one that waited for the end does not speak of the start."""

    async def act() -> None:
        async with open_agent(home, jobs.project) as agent:
            found = await agent.call("run_command", command="true", wait_s=40)
            assert not {"message", "hint", "stdout_start", "stderr_truncated_bytes"} & {*found}
            token = await agent.run("sleep 60")
            found = await agent.call("query_command_status", token=token, wait_s=1)
            assert 'wait_for="end"' in found["hint"]
            await agent.call("terminate_command", token=token)

    play(act)


def test_the_list_is_of_what_runs_where_that_is_asked(home: Home, jobs: Jobs) -> None:
    """As mtr job list --running; limit shows fewer, and total says of how many."""

    async def act() -> None:
        async with open_agent(home, jobs.project) as agent:
            for _ in range(2):
                await agent.ends(await agent.run("true"))
            token = await agent.run("sleep 60")
            await agent.call("query_command_status", token=token, wait_s=1)
            found = await agent.call("list_commands", running=True)
            assert ([row["token"] for row in found["commands"]], found["total"]) == ([token], 1)
            found = await agent.call("list_commands", limit=2)
            assert (len(found["commands"]), found["total"]) == (2, 3)
            await agent.call("terminate_command", token=token)

    play(act)


def test_without_a_server_it_is_said_that_commands_run_here(home: Home, project: Path) -> None:
    """Or a model takes this machine for a server."""
    (project / ".mtr" / "config.yaml").unlink()

    async def act() -> None:
        async with open_agent(home, project) as agent:
            assert "run on this machine" in (await agent.call("list_servers"))["hint"]
            started = await agent.call("run_command", command="true")
            assert "started on this machine" in started["message"]
            await agent.ends(started["token"])

    play(act)


def test_files_are_read_written_and_fetched(home: Home, jobs: Jobs) -> None:
    """In pieces, whole or not at all, with their mode; hostile names are names."""

    async def act() -> None:
        async with open_agent(home, jobs.project) as agent:
            there = home.remote(jobs.project)
            put = await agent.call("put_file", path="new/-ü '$(x)'\n.txt", text="zwölf\n", mode="750")
            assert (put["bytes"], put["is_new"]) == (7, True)
            written = there / "new" / "-ü '$(x)'\n.txt"
            assert written.read_text() == "zwölf\n"
            assert written.stat().st_mode & 0o777 == 0o750
            assert not (await agent.call("put_file", path="new/-ü '$(x)'\n.txt", base64="AP8="))["is_new"]
            assert (written.read_bytes(), written.stat().st_mode & 0o777) == (b"\0\xff", 0o750)
            got = await agent.call("get_file", path="new/-ü '$(x)'\n.txt")
            assert (got["base64"], got["size"], got["mode"], got["more"]) == ("AP8=", 2, "750", False)
            (there / "long").write_text("ä" * 100)
            piece = await agent.call("get_file", path="long", max_bytes=17, offset=2)
            assert (piece["text"], piece["next_offset"], piece["more"]) == ("ä" * 8, 18, True)
            for path, words in (("new", "directory"), ("missing", "no such file")):
                assert words in await agent.fail("get_file", path=path)
            assert "directory" in await agent.fail("put_file", path="new", text="x")
            saved = await agent.call("get_file", path="long", save_to="got/")
            assert (jobs.project / "got" / "long").read_text() == "ä" * 100
            assert (saved["files"], saved["problems"]) == (1, [])
            assert [path.name for path in (there / "new").iterdir()] == [written.name]

    play(act)


def test_a_sync_brings_the_files_and_tells_what(home: Home, jobs: Jobs) -> None:
    """By itself, and before a command unless it is told not to."""

    async def act() -> None:
        async with open_agent(home, jobs.project) as agent:
            done = await agent.call("sync_files")
            assert done["files_sent"] >= 2
            (jobs.project / "a.txt").write_text("two\n")
            stale = await agent.call("run_command", command="cat a.txt", sync=False, wait_s=40)
            fresh = await agent.call("run_command", command="cat a.txt", wait_s=40)
            assert (stale["stdout"], fresh["stdout"]) == ("one\n", "two\n")
            assert (await agent.call("sync_files", full=True))["server"] == "lab"

    play(act)


def test_servers_are_listed_also_where_the_configuration_is_wrong(home: Home, project: Path) -> None:
    """With what is wrong, as mtr says it."""

    async def act() -> None:
        async with open_agent(home, project) as agent:
            found = await agent.call("list_servers")
            assert [(row["name"], row["is_default"]) for row in found["servers"]] == [("lab", True)]
            (project / ".mtr" / "config.yaml").write_text("servers: {lab: {hots: x}}\n")
            assert "hots" in (await agent.call("list_servers"))["error"]
            assert "hots" in await agent.fail("run_command", command="true")

    play(act)


def test_resources_and_prompts(home: Home, jobs: Jobs) -> None:
    """Servers, commands, and the end of a long output, which says that it is not all."""

    async def act() -> None:
        async with open_agent(home, jobs.project) as agent:
            token = await agent.run("seq 1 20000; echo err >&2")
            await agent.ends(token)

            async def read(uri: str) -> str:
                (content,) = (await agent.client.read_resource(uri)).contents
                return content.text  # type: ignore[union-attr]

            assert json.loads(await read("mtr://servers"))["default"] == "lab"
            assert json.loads(await read("mtr://jobs"))["commands"][0]["token"] == token
            first, _, rest = (await read(f"mtr://jobs/{token}/stdout")).partition("\n")
            assert "the last 65536 of 108894 bytes" in first
            assert rest.endswith("\n19999\n20000\n")
            assert await read(f"mtr://jobs/{token}/stderr") == "err\n"
            with pytest.raises(MCPError, match="token"):
                await read("mtr://jobs/0123abcd/stdout")
            prompts = (await agent.client.list_prompts()).prompts
            assert [prompt.name for prompt in prompts] == ["train_and_watch", "debug_failed_job", "first_look"]
            found = await agent.client.get_prompt("train_and_watch", {"command": "python train.py"})
            assert "python train.py" in found.messages[0].content.text  # type: ignore[union-attr]

    play(act)


def test_the_reference_names_every_tool_and_what_it_takes(home: Home, project: Path) -> None:
    """In its table, with the defaults that count; resources and prompts, too."""
    page = (CHECKOUT / "docs" / "reference" / "mcp.md").read_text(encoding="utf-8")
    rows = {
        row.split("`")[1]: row.split("|")[3]
        for row in page.splitlines()
        if row.startswith("| `") and row.count("|") == 4
    }

    async def act() -> None:
        async with open_agent(home, project) as agent:
            for tool in (await agent.client.list_tools()).tools:
                # What stands in parentheses are defaults and values.
                taken = re.sub(r"\([^)]*\)", "", rows[tool.name])
                assert set(re.findall(r"`(\w+)`", taken)) == {*tool.input_schema["properties"]}
            for template in (await agent.client.list_resource_templates()).resource_templates:
                assert f"`{template.uri_template}`" in page
            for resource in (await agent.client.list_resources()).resources:
                assert f"`{resource.uri}`" in page
            for prompt in (await agent.client.list_prompts()).prompts:
                assert f"`{prompt.name}`" in page

    play(act)


def test_the_policy_refuses_and_asks_the_person(home: Home, jobs: Jobs) -> None:
    """What it forbids is not started; what it wants confirmed is started after a yes alone, if the client can ask."""
    policy = {"deny": ["rm *"], "confirm": ["touch *"]}
    (home.home / ".config" / "mtr").mkdir(parents=True, exist_ok=True)
    (home.home / ".config" / "mtr" / "config.yaml").write_text(json.dumps({"policy": policy}))
    there, asked, yes = home.remote(jobs.project), [], [False, True]

    async def ask(_context: object, params: ElicitRequestParams) -> ElicitResult:
        asked.append(params.message)
        return ElicitResult(action="accept", content={"run": yes.pop(0)})

    async def act() -> None:
        async with open_agent(home, jobs.project, mode="legacy", elicitation_callback=ask) as agent:
            words = await agent.fail("run_command", command="rm a.txt")
            assert "next: " in words
            assert "said no" in await agent.fail("run_command", command="touch made")
            assert not (there / "made").exists()
            found = await agent.call("run_command", command="touch made", wait_s=40)
            assert (found["exit_code"], (there / "made").exists()) == (0, True)
        async with open_agent(home, jobs.project, mode="legacy") as agent:
            assert "cannot ask" in await agent.fail("run_command", command="touch other")
            assert "outside" in await agent.fail("get_file", path="/etc/passwd")
            assert "outside" in await agent.fail("get_file", path="a.txt", save_to="../../out")

    play(act)
    assert len(asked) == 2
    assert all("touch made" in words for words in asked)


def test_commands_run_on_this_machine_too(home: Home, project: Path) -> None:
    """As the server named local; they end with the server."""

    async def act() -> None:
        async with open_agent(home, project) as agent:
            found = await agent.call("run_command", command="cat a.txt", server="local", wait_s=20)
            assert (found["stdout"], found["exit_code"], found["server"]) == ("one\n", 0, "local")
            token = await agent.run("read word; echo got $word", server="local", keep_stdin=True)
            await agent.call("send_command_input", token=token, text="x\n")
            assert (await agent.ends(token))["stdout"] == "got x\n"

    play(act)
