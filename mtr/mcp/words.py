"""What a model reads of the tools: one title and one text each, and what they are for together."""

from __future__ import annotations

from mtr.mcp.answers import DEFAULT_BYTES, MAX_BYTES, MAX_WAIT_S

INSTRUCTIONS = f"""\
mtr runs commands on remote servers over SSH, on the files of the local project as they are now: edit files
here, and run_command brings them there and runs the command. run_command returns a token at once;
query_command_status with wait_s={MAX_WAIT_S:g} tells what the command prints, piece by piece, and how it ends.
Commands are durable: they outlive calls, connections and this program. Give long work a timeout that fits; the
default is 30 s. Errors end with "next:", which is what to do."""

TOOLS = {
    "run_command": (
        "Run a command on a server",
        f"""\
Run a command on a server, on the project's files as they are here now: they are brought there first. Returns at
once with a token; query_command_status tells what it prints and how it ends. Nothing is installed there.

Quick commands: wait_s=20 waits for the end and answers with the output. Long work (training, builds): give a
larger timeout, since the default of 30 s ends it with all that it has started, then query with
wait_s={MAX_WAIT_S:g} as often as it takes. The command is a durable job: it goes on when this call, the
connection or this machine goes away, and its token stays good. Cancelling a call ends the waiting, not the
command: terminate_command does that.

Each command has a shell of its own: cd and variables count for one command, so use working_directory. stdin is
empty, unless keep_stdin or use_pty lets send_command_input fill it. On an error, do what it says behind "next:";
what cannot reach the server may be called again. A command that could not be started is completed, with the
reason in error.""",
    ),
    "query_command_status": (
        "See how a command stands, and its output",
        f"""\
Tell how a command stands, and what it has printed behind the offsets. Give next_stdout_offset and
next_stderr_offset of the last answer to read on without missing or repeating a byte; offsets count bytes from
the beginning of the stream, and 0 reads from the start.

status: pending (being started), running, completed (see exit_code and timeout_occurred), not_found (no such
token). wait_s, up to {MAX_WAIT_S:g}, waits for new output or the end; with wait_for="end" for the end alone.
more says that there is more to read right now: ask again at once. An answer has up to {DEFAULT_BYTES} bytes of
each stream unless max_bytes says otherwise. To see only the end of a long output, give stdout_length less a few
thousand as stdout_offset.""",
    ),
    "send_command_input": (
        "Send input to a command",
        """\
Let a running command read text from its stdin, which keep_stdin has kept open, or from its terminal (use_pty): end
a line with \\n; end=true closes stdin. In a terminal \\u0003 is Ctrl-C. query_command_status then tells what the
command says to that.""",
    ),
    "terminate_command": (
        "End a command",
        """\
End a command with all that it has started (TERM, ten seconds, KILL), see that it is gone, and answer with how
it ended and what it had printed. One that has ended already is left as it is.""",
    ),
    "list_commands": (
        "List commands",
        """\
List the commands of a server, or of the default one and all that were used, the newest first, with their
tokens: also those that other clients have started, and those from before a restart.""",
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
Read a piece of a file on the server; or, with save_to, bring a file or directory from there to this machine,
whatever its size. What is newer here stays, and is named in problems. To list a directory: run_command with ls.""",
    ),
    "put_file": (
        "Write a file on a server",
        f"""\
Write a file on the server, whole or not at all, up to {MAX_BYTES} bytes; directories in front of it are made.
Change the project's own files here instead, and let the sync bring them: a later sync replaces what was put in
their place.""",
    ),
}
"""Title and description of each tool."""
