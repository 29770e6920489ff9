"""Run a command on the server as a tool of an agent: its output, or whose failure it was and what to do."""

import json
import os
import subprocess
import sys
import tempfile

MAX_CHARACTERS = 20_000


def run_remotely(command, timeout_s=600):
    """Sync, run ``command`` in a shell there, and return (exit status, what the agent is to read)."""
    with tempfile.TemporaryDirectory() as folder:
        result_file = os.path.join(folder, "result.json")
        # The limit is mtr's, which ends every process of the run there. One word is text for the server's shell;
        # several words would be an argv, passed on exactly.
        argv = ["mtr", "--no-tty", f"--timeout={timeout_s}", f"--result={result_file}", command]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        with open(result_file) as file:
            result = json.load(file)
    if result["by"] == "mtr":
        return done.returncode, f"not the command's failure, but mtr's ({result['code']}):\n{clip(done.stderr)}"
    return done.returncode, f"{clip(done.stdout)}{clip(done.stderr)}"


def clip(text):
    """Return the end of ``text``, and say so where something is missing."""
    cut = len(text) - MAX_CHARACTERS
    return text if cut <= 0 else f"[{cut} characters before this are left out]\n{text[-MAX_CHARACTERS:]}"


if __name__ == "__main__":
    status, text = run_remotely(sys.argv[1])
    sys.stdout.write(text)
    sys.exit(status)
