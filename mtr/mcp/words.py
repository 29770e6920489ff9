"""What a model reads of the tools: one title and one text each, and what they are for together.

A client puts all of it into each of its conversations: a sentence is here because a model errs without it.
"""

from __future__ import annotations

from mtr.mcp.answers import DEFAULT_BYTES, MAX_BYTES, MAX_WAIT_S

INSTRUCTIONS = f"""\
mtr runs commands on remote servers over SSH, on the files of the local project as they are now: edit files
here, and run_command brings them there and runs the command. Quick commands: wait_s=20. Long work: give a timeout
that fits (the default is 30 s), then query_command_status with wait_s={MAX_WAIT_S:g}, wait_for="end" as often as it
takes. Commands outlive calls, connections and this program: list_commands finds their tokens. Errors end with
"next:", which is what to do; where that is a command mtr …, it is for a terminal, yours or the person's."""

TOOLS = {
    "run_command": (
        "Run a command on a server",
        f"""\
Run a command on a server, on the project's files as they are here now: they are brought there first. Nothing is
installed there.

Quick commands: wait_s=20 answers with output and exit_code once it has ended. Long work (training, builds): a larger
timeout, since the default of 30 s ends it with all that it has started; the token comes at once, and
query_command_status with wait_s={MAX_WAIT_S:g}, wait_for="end" tells the rest, as often as it takes. It goes on when
this call, the connection or this machine goes away; terminate_command ends it.

Each command has a shell of its own: instead of cd, give working_directory. A command that could not be started is
completed, with the reason in error.""",
    ),
    "query_command_status": (
        "See how a command stands, and its output",
        f"""\
Tell how a command stands, and what it has printed behind the offsets. Give next_stdout_offset and
next_stderr_offset of the last answer to read on without missing or repeating a byte; 0 reads from the start, -8000
the last 8000 bytes.

status: pending (being started), running, completed (see exit_code and timeout_occurred), not_found (no such token).
wait_s, up to {MAX_WAIT_S:g}: to watch long work, wait_for="end" answers at its end, or then with all that it has
printed meanwhile; by default the first new line answers, as for a dialogue. more: there is more to read right now.
An answer has up to {DEFAULT_BYTES} bytes of each stream; what is 0 or empty may be left out.""",
    ),
    "send_command_input": (
        "Send input to a command",
        """\
Let a running command read text from its stdin, which keep_stdin has kept open, or from its terminal (use_pty): end
a line with \\n; end=true closes stdin. In a terminal \\u0003 is Ctrl-C. query_command_status then tells what it
says to that.""",
    ),
    "terminate_command": (
        "End a command",
        """\
End a command with all that it has started (TERM, ten seconds, KILL), and answer with how it ended and what it had
printed. One that has ended already is left as it is.""",
    ),
    "list_commands": (
        "List commands",
        """\
List the commands of a server, or of the default one and all that were used, the newest first, with their
tokens: also those of other clients, and from before a restart.""",
    ),
    "list_servers": (
        "List servers",
        """\
List the configured servers, which one is the default, and whether a connection to it is open. Asks no server.""",
    ),
    "sync_files": (
        "Bring the project's files to a server",
        """\
Bring the project's files to the server as they are here; what was deleted here is deleted there. run_command
does so by itself. What others have changed there goes to a trash there, and full=true looks for all of that.""",
    ),
    "get_file": (
        "Read or fetch a file from a server",
        """\
Read a piece of a file on the server; or, with save_to, bring a file or directory from there into the project here,
whatever its size. What is newer here stays, and is named in problems. To list a directory: run_command with ls.""",
    ),
    "put_file": (
        "Write a file on a server",
        f"""\
Write a file on the server, whole or not at all, up to {MAX_BYTES} bytes; directories in front of it are made.
Change the project's own files here instead: the next sync brings them, and replaces what was put in their place.""",
    ),
}
"""Title and description of each tool."""
