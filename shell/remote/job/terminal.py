"""The terminal of a job: what stands between its command and the files of its directory. Python 3.6 or newer.

    python3 -IS terminal ARGV...        MTR_SIZE is "ROWS COLUMNS"; stdout is the job's out

The command runs on a terminal of its own, whose name is then in the file "tty". What it prints goes to stdout, byte for
byte; what anybody writes to the FIFO "in" is typed. Leaves with the command's status, 128+n for signal n.

A command that waits for its output to be taken reads nothing, and one that reads nothing still prints: neither side
ever waits for the other here, and what is typed is kept meanwhile.
"""

import errno
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time

PIECE_BYTES = 1 << 16
TYPED_BYTES = 1 << 24
LAST_WORDS_S = 5.0
SHELLS = ("bash", "sh", "dash", "zsh", "fish", "ksh", "mksh", "tcsh", "csh")
IUTF8 = 0o40000  # Linux's; termios knows it from Python 3.13 on


def main():
    """Run the command and return the status to leave with."""
    job = os.path.dirname(os.path.abspath(__file__))
    rows, columns = (int(word) for word in os.environ.pop("MTR_SIZE", "24 80").split())
    os.environ.pop("MTR_TERMINAL", None)
    # Open for both: there is always a reader, and never an end.
    keyboard = os.open(job + "/in", os.O_RDWR | os.O_NONBLOCK)
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(woken)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    pid, master = pty.fork()
    if pid == 0:
        start(job, rows, columns, sys.argv[1:])
    # Whoever ends the job signals the command as well; this one stays until it has seen how that went.
    signal.signal(signal.SIGTERM, lambda *_: hang_up(pid))
    os.set_blocking(master, False)
    status = carry(pid, master, keyboard, wake)
    return 128 + os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def start(job, rows, columns, argv):
    """In the child: become the command."""
    try:
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        modes = termios.tcgetattr(0)
        if sys.platform == "linux":
            modes[0] |= IUTF8
        termios.tcsetattr(0, termios.TCSANOW, modes)
        with open(job + "/tty", "w") as file:
            file.write(os.ttyname(0) + "\n")
        signal.set_wakeup_fd(-1)
        for name in ("SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGCHLD", "SIGPIPE", "SIGXFSZ"):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
        os.execvp(argv[0], argv)  # noqa: S606  this is the command
    except OSError as error:
        lacks = error.errno in (errno.ENOENT, errno.ENOTDIR)
        words = "command not found" if lacks else os.strerror(error.errno)
        os.write(2, os.fsencode(f"mtr: {argv[0]}: {words} on the server\n"))
        os._exit(127 if lacks else 126)
    finally:
        os._exit(125)


def carry(pid, master, keyboard, wake):
    """Move bytes until the command has ended; return what wait(2) says of it."""
    typed = b""
    while True:
        readers = [wake, master] + ([keyboard] if len(typed) < TYPED_BYTES else [])
        ready, room, _ = select.select(readers, [master] if typed else [], [])
        if wake in ready:
            os.read(wake, PIECE_BYTES)
            if has_ended(pid):
                take_last(pid, master)
                return os.waitpid(pid, 0)[1]
        if keyboard in ready:
            typed += read(keyboard) or b""
        if master in room:
            typed = typed[write(master, typed) :]
        if master in ready and read_on(pid, master) == b"":
            # No process has the terminal open just now.
            select.select([wake], [], [], 0.1)


def take_last(pid, master):
    """Take what the command has printed and nobody has read."""
    end_s = time.monotonic() + LAST_WORDS_S
    while time.monotonic() < end_s and select.select([master], [], [], 0.02)[0]:
        if not read_on(pid, master):
            return


def read_on(pid, master):
    """Take one piece from the terminal to stdout; return it, None where there is none, b"" where nobody is there."""
    piece = read(master)
    left = piece or b""
    while left:
        try:
            left = left[os.write(1, left) :]
        except OSError as error:
            # The disk is full: the command waits, and loses nothing. Where nothing can ever be written, it goes on.
            if error.errno not in (errno.ENOSPC, errno.EDQUOT) or has_ended(pid):
                break
            time.sleep(0.2)
    return piece


def has_ended(pid):
    """Tell whether the command has; it can still be waited for."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def read(descriptor):
    """Return what is there, None where nothing is, b"" at the end."""
    try:
        return os.read(descriptor, PIECE_BYTES)
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return b""


def write(master, typed):
    """Type what the terminal takes, and return how much that was; what nobody will ever read counts as well."""
    try:
        return os.write(master, typed[:4096])
    except BlockingIOError:
        return 0
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return len(typed)


def hang_up(pid):
    """End an interactive shell as its terminal's end would: it ignores TERM."""
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            words = file.read().split("\0")[:-1]
    except OSError:
        return
    options = [word for word in words[1:] if word.startswith("-") and word != "-c"]
    if words and len(options) == len(words) - 1 and os.path.basename(words[0]).lstrip("-") in SHELLS:
        os.kill(pid, signal.SIGHUP)


sys.exit(main())
