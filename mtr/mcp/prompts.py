"""Prompts: how common work goes with these tools, for a person to choose from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from mtr.mcp.answers import MAX_WAIT_S

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer


def train_and_watch(
    command: Annotated[str, Field(description="What to run, as python train.py --lr 0.1.")],
    hours: Annotated[str, Field(description="After how long it is to be ended.")] = "6",
) -> str:
    """Start a long run, watch it, and report."""
    return f"""\
Run this on the server and watch it: {command}

1. run_command with that command and a timeout of {hours} hours in seconds. Keep the token: tell it to me.
2. query_command_status with wait_s={MAX_WAIT_S:g} and wait_for="end", each time with the last next_stdout_offset and
   next_stderr_offset, until the status is completed. In between, tell me in one line how it gets on whenever that
   has changed: steps, loss, errors.
3. If it goes wrong for good (a loss that is no number, an exception that repeats), terminate_command, and say why.
4. At the end: the exit code, the figures that count, where its results lie, and get_file with save_to for those that
   I name."""


def debug_failed_job(
    token: Annotated[str, Field(description="The token; empty for the newest command that failed.")] = "",
) -> str:
    """Find out why a command has failed, and mend it."""
    which = f"the command with the token {token}" if token else "the newest command of list_commands that has failed"
    return f"""\
Find out why {which} has failed, and mend it.

1. query_command_status: exit_code, timeout_occurred, error. Read the end of both outputs, with -8000 as both
   offsets, stderr first.
2. Say what went wrong, with the lines that show it, before you change anything. 124 or timeout_occurred: its time was
   over. 137: killed, often for memory; look with: dmesg | tail, free -g, nvidia-smi. 127: a program that is not there.
3. Try the smallest command that shows the same fault, with wait_s=20.
4. Mend the files here, not there: the next run_command brings them. Run the small command again, then the whole one."""


def first_look(server: Annotated[str, Field(description="Its name; empty for the default one.")] = "") -> str:
    """See what a server is and has."""
    where = f"server={server!r}" if server else "the default server"
    return f"""\
Take a first look at {where}, changing nothing there: use sync=false and wait_s=20.

1. list_servers: what is configured, and is it connected?
2. run_command: uname -a; nproc; free -g; df -h . ~ /tmp; nvidia-smi; command -v python3 conda uv git rsync; python3 -V
3. run_command: ls -la; and what runs there: ps aux --sort=-%cpu | head -n 15
4. Tell me in ten lines what it is good for, what is free, and what is missing for this project."""


def add_prompts(server: MCPServer[Any]) -> None:
    """Let ``server`` offer the prompts."""
    server.prompt("train_and_watch", title="Run a training and watch it")(train_and_watch)
    server.prompt("debug_failed_job", title="Find out why a job failed")(debug_failed_job)
    server.prompt("first_look", title="Take a first look at a server")(first_look)
