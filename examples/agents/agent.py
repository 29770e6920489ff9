"""Run a command on the server as a tool of an agent: its output, or whose failure it was and what to do."""

import subprocess
import sys

MTR_FAILED = 125
MAX_CHARACTERS = 20_000


def run_remotely(command, timeout_s=600):
    """Sync, run ``command`` in a shell there, and return (exit status, what the agent is to read)."""
    # One word is text for the server's shell; several words would be an argv, passed on exactly.
    argv = ["mtr", "--no-tty", command]
    process = subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        output, errors = process.communicate(timeout=timeout_s)
    except subprocess.TimeoutExpired:
        process.terminate()  # mtr ends every process of the run on the server, and then itself
        output, errors = process.communicate()
        return process.returncode, f"ended after {timeout_s} s\n{clip(output)}\n{clip(errors)}"
    if process.returncode == MTR_FAILED and errors.startswith("mtr: "):
        return process.returncode, f"the command did not run, or its end is not known:\n{errors}"
    return process.returncode, f"{clip(output)}{clip(errors)}"


def clip(text):
    """Return the end of ``text``, and say so where something is missing."""
    cut = len(text) - MAX_CHARACTERS
    return text if cut <= 0 else f"[{cut} characters before this are left out]\n{text[-MAX_CHARACTERS:]}"


if __name__ == "__main__":
    status, text = run_remotely(sys.argv[1])
    sys.stdout.write(text)
    sys.exit(status)
