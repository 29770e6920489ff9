"""What a server asks while ssh logs in, and who answers: a password that mtr knows, or a person.

ssh is made to ask mtr (``SSH_ASKPASS`` in force mode, OpenSSH 8.4 and newer), so a question that nobody can answer is
known, and ends the login at once: an empty answer would count as a wrong one, and wrong ones lock accounts.

On disk, while ssh logs in: ``RUNTIME/ask.PID.RANDOM/`` (0700) with the program and two FIFOs; see ``shell/askpass.sh``.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import sys
from typing import TYPE_CHECKING

from mtr.errors import AuthenticationFailed, sanitize
from mtr.scripts import load_script

if TYPE_CHECKING:
    from mtr.config.model import Secret
    from mtr.ssh.endpoint import Endpoint

_END = b"\n\x04\n"

NOT_THE_SERVERS = "\x01"
"""In front of a question that comes from another host than the one whose password is known."""

_NAMES = re.compile(r"""'[^']*'|"[^"]*"|\S+@\S+""")


class Answers:
    """Answers for one login to ``endpoint``: ``password`` once, and a person's where one ``may`` be asked."""

    def __init__(self, endpoint: Endpoint, password: Secret | None, *, may_prompt: bool) -> None:
        self._endpoint = endpoint
        self._password = password
        self._may_prompt = may_prompt
        self._used = False

    def answer(self, question: str) -> str:
        """Return the answer to ``question``.

        Raises:
            AuthenticationFailed: there is none; ``question`` is in the error.
        """
        is_ours = is_for_password(question) and self._is_of_server(question)
        question = question.removeprefix(NOT_THE_SERVERS)
        if is_ours and self._password is not None:
            known, self._password, self._used = self._password, None, True
            return known.reveal()
        if self._may_prompt:
            return ask_person(question)
        name = self._endpoint.server_name
        if is_ours and self._used:
            raise AuthenticationFailed(f"{self._endpoint.label} does not take the password", detail=question.strip())
        message = f"{self._endpoint.label} asks for what nobody is here to answer"
        raise AuthenticationFailed(message, detail=question.strip(), hint=f"log in on a terminal: mtr up -s {name}")

    def _is_of_server(self, question: str) -> bool:
        """Tell whether it is this server that asks, and no jump host on the way, which must not get its password."""
        if question.startswith(NOT_THE_SERVERS):
            return False
        user, _, rest = self._endpoint.address.rpartition("@")
        hosts = {rest.rpartition(":")[0], self._endpoint.known_name, self._endpoint.destination.rpartition("@")[2]}
        if any(f"{user}@{host}" in question for host in hosts if host):
            return True
        return "@" not in question and not self._endpoint.has_jump


def ask_waiting_mtr(question: str) -> str:
    """Ask the mtr that has started this process and waits; what ``shell/askpass.sh`` does, from Python.

    Raises:
        AuthenticationFailed: it has gone.
    """
    folder = os.environ["MTR_ASKPASS"]
    descriptor = os.open(f"{folder}/question", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    os.write(descriptor, os.fsencode(question)[:3000] + _END)
    os.close(descriptor)
    descriptor = os.open(f"{folder}/answer", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    answer = b""
    try:
        while not answer.endswith(b"\n"):
            if not select.select([descriptor], [], [], 1.0)[0]:
                os.kill(int(os.environ["MTR_ASKPASS_PID"]), 0)
                continue
            data = os.read(descriptor, 4096)
            if not data:
                raise AuthenticationFailed("nobody waits for this login any more")
            answer += data
    except ProcessLookupError as error:
        raise AuthenticationFailed("nobody waits for this login any more") from error
    finally:
        os.close(descriptor)
    return os.fsdecode(answer[:-1])


def is_for_password(question: str) -> bool:
    """Tell whether ``question`` wants the account's password: not a key's passphrase, not a one-time code.

    What stands in quotes (a file) or around an ``@`` (who logs in where) is a name, whatever words are in it.
    """
    words = set(re.findall(r"[a-z]+", _NAMES.sub(" ", question.lower())))
    return "password" in words and not words & {"time", "otp", "oath", "new", "verification", "token"}


def ask_person(question: str) -> str:
    """Ask on the terminal; what is typed shows for a yes or no alone. The words may be the server's."""
    question = sanitize(question)
    if "(yes/no" in question:
        sys.stderr.write(f"{question.rstrip()} ")
        sys.stderr.flush()
        with open("/dev/tty", encoding="utf-8", errors="surrogateescape") as terminal:
            return terminal.readline().rstrip("\n")
    from getpass import getpass

    return getpass(f"{question.strip()} ")


class Asked:
    """The place where ssh's questions arrive; a context manager. ``environ`` are the variables that lead ssh there."""

    def __init__(self, runtime_dir: str, answers: Answers) -> None:
        self._dir = f"{runtime_dir}/ask.{os.getpid()}.{os.urandom(8).hex()}"
        self._program = f"{self._dir}/askpass.sh"
        self._answers = answers
        self._read = b""

    def __enter__(self) -> Asked:
        os.mkdir(self._dir, 0o700)
        for name in ("question", "answer"):
            os.mkfifo(f"{self._dir}/{name}", 0o600)
        descriptor = os.open(self._program, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o700)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(load_script("askpass.sh"))
        # Open for both, so that neither side ever waits for the other to open it.
        flags = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC
        self._questions, self._sent = (os.open(f"{self._dir}/{name}", flags) for name in ("question", "answer"))
        return self

    @property
    def environ(self) -> dict[str, str]:
        """What ssh needs to find its way here; no secret is in it."""
        return {
            "SSH_ASKPASS": self._program,
            "SSH_ASKPASS_REQUIRE": "force",
            "MTR_ASKPASS": self._dir,
            "MTR_ASKPASS_PID": str(os.getpid()),
        }

    @property
    def works(self) -> bool:
        """Whether a program here can be run: some systems mount such directories without that."""
        return os.access(self._program, os.X_OK)

    def serve(self) -> None:
        """Answer what has been asked by now; raises as :meth:`Answers.answer`."""
        try:
            self._read += os.read(self._questions, 65536)
        except BlockingIOError:
            return
        while _END in self._read:
            question, _, self._read = self._read.partition(_END)
            answer = self._answers.answer(question.decode(errors="replace"))
            os.write(self._sent, os.fsencode(answer.replace("\n", "")) + b"\n")

    def __exit__(self, *_: object) -> None:
        os.close(self._questions)
        os.close(self._sent)
        shutil.rmtree(self._dir, ignore_errors=True)
