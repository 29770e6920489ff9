"""What ``mtr init`` asks on a terminal: as little as it can, each with an answer that Enter takes.

Questions stand on stderr. A wrong answer is said and asked again; the end of input ends everything.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mtr.config.model import Secret
from mtr.errors import AuthenticationFailed, ConnectError, MtrError, UsageError, render_error, reveal_controls
from mtr.setup.answers import (
    Answers,
    apply_options,
    ensure_sound,
    list_hosts,
    parse_server,
    resolve_key_filename,
    suggest_remote_dir,
)
from mtr.setup.draft import make_draft, resolve_user
from mtr.setup.trial import try_draft
from mtr.voice import read_typed

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mtr.setup.draft import Draft
    from mtr.setup.site import Site
    from mtr.setup.trial import Trial
    from mtr.voice import Voice

MAX_SHOWN = 12
"""Hosts of ssh's configuration that are listed; any other can be typed."""


def _write(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def _read(question: str, default: str = "") -> str:
    """Ask once; Enter is ``default``.

    Raises:
        EOFError: there is no answer to come.
    """
    shown = f" [{reveal_controls(default)}]" if default else ""
    _write(f"{question}{shown}: ")
    line = read_typed()
    if not line.endswith("\n"):
        raise EOFError
    return line.strip() or default


def _ask(question: str, take: Callable[[str], Any], default: str = "") -> Any:
    """Ask until ``take`` takes the answer, and return what it makes of it."""
    while True:
        answer = _read(question, default)
        try:
            return take(answer)
        except UsageError as error:
            _write(f"  {reveal_controls(error.message)}\n")


def _choose(question: str, choices: Sequence[str]) -> int:
    """Show ``choices`` and return the number of the one that was taken, from 0; Enter takes the first."""
    _write("".join(f"  {number}  {text}\n" for number, text in enumerate(choices, 1)))

    def take(answer: str) -> int:
        if not answer.isascii() or not answer.isdigit() or not 1 <= int(answer[:9]) <= len(choices):
            raise UsageError(f"one of the numbers from 1 to {len(choices)}, please")
        return int(answer) - 1

    number: int = _ask(question, take, "1")
    return number


def ask_answers(site: Site, options: Mapping[str, Any], environ: Mapping[str, str]) -> Answers:
    """Ask for the server, and, where ssh's configuration does not say it, for what else is needed.

    What an option has given is not asked.
    """
    hosts = list_hosts(environ)
    answers = apply_options(_ask_server(hosts, environ, "1" if hosts else ""), options, os.getcwd(), environ)
    if answers.host in hosts:
        return answers
    if answers.user is None:
        answers = _ask_user(answers, environ)
    if options["remote_dir"] is None:
        answers = _ask_remote_dir(site, answers, environ)
    return answers if options["python"] is not None else _ask_python(answers)


def ask_again(site: Site, before: Answers, environ: Mapping[str, str]) -> Answers:
    """Ask for everything; Enter keeps what it was."""
    answers = _ask_server(list_hosts(environ), environ, before.destination)
    if answers.host == before.host:
        kept = {"name": before.name, "user": answers.user or before.user, **before.login}
        answers = replace(answers, **kept)
    answers = replace(answers, remote_dir=before.remote_dir, python=before.python, pre_cmd=before.pre_cmd)
    return _ask_python(_ask_remote_dir(site, _ask_user(answers, environ), environ))


def _ask_server(hosts: list[str], environ: Mapping[str, str], default: str) -> Answers:
    shown = hosts[:MAX_SHOWN]
    if shown:
        _write("Where do its commands run? These are in your ~/.ssh/config:\n")
        _write("".join(f"  {number:>2}  {reveal_controls(host)}\n" for number, host in enumerate(shown, 1)))
        if len(hosts) > len(shown):
            _write(f"      and {len(hosts) - len(shown)} more, by name\n")

    def take(answer: str) -> Answers:
        if not answer:
            raise UsageError("a name or an address, such as dev@gpu-01.lan")
        if answer.isascii() and answer.isdigit() and answer not in hosts:
            if not 1 <= int(answer[:9]) <= len(shown):
                raise UsageError(f"there is no number {answer}")
            answer = shown[int(answer) - 1]
        return parse_server(answer, environ)

    question = (
        "Server (its number, or user@host)" if shown else "Where do its commands run? (user@host, or user@host:port)"
    )
    found: Answers = _ask(question, take, default)
    return found


def _ask_user(answers: Answers, environ: Mapping[str, str]) -> Answers:
    """Ask for the account; what ssh would take anyway need not be written down."""
    usual = resolve_user(replace(answers, user=None), environ)
    user = _ask("User there", _checked("user"), answers.user or usual)
    return replace(answers, user=None if user == usual else user)


def _ask_remote_dir(site: Site, answers: Answers, environ: Mapping[str, str]) -> Answers:
    own = make_draft(site, replace(answers, remote_dir=None), environ).remote_dir
    question = f"Directory there (or such as {suggest_remote_dir(site.project.name)})"
    found = _ask(question, _checked("remote_dir"), answers.remote_dir or own)
    return replace(answers, remote_dir=None if found == own else found)


def _ask_python(answers: Answers) -> Answers:
    none = "" if answers.python else " (Enter: none)"
    question = f"Python environment there, such as conda:torch or venv:.venv{none}"
    found = _ask(question, _checked("python", empty=True), answers.python or "")
    return replace(answers, python=found or None)


def _checked(key: str, *, empty: bool = False) -> Callable[[str], str]:
    def take(answer: str) -> str:
        if answer or not empty:
            ensure_sound(key, answer)
        return answer

    return take


def ask_until_right(
    site: Site, answers: Answers, environ: Mapping[str, str], voice: Voice
) -> tuple[Draft | None, Trial | None]:
    """Try ``answers``; where they fail, let the person change them, write them anyway, or stop (None).

    ssh itself asks nothing at first: what works with a key needs no question.
    """
    may_prompt = False
    while True:
        draft = None
        try:
            draft = make_draft(site, answers, environ)
            voice.say(f"trying {answers.destination} …")
            return draft, try_draft(draft, environ, voice, may_prompt=may_prompt)
        except MtrError as error:
            if isinstance(error, AuthenticationFailed):
                error.hint = ""  # the choices that follow are what to try
            _write(render_error(error))
            what = _ask_what_now(error, answers, can_write=draft is not None)
        if what == "write":
            return draft, None
        if what == "stop":
            return None, None
        if what == "change":
            answers, may_prompt = ask_again(site, answers, environ), bool(answers.login)
        else:
            answers, may_prompt = _ask_login(what, answers), True


_LOGINS = {
    "prompt": "let ssh ask: a passphrase, a password or a code, once for each connection",
    "password": "with a password, kept in .mtr/local.yaml for you alone",
    "password_command": "with a password that a command prints, such as: pass show gpu-01",
    "password_env": "with a password in an environment variable",
    "key_filename": "with a key file",
}
_OTHERS = {
    "change": "change the answers",
    "write": "write the files anyway",
    "stop": "stop; nothing is written",
}


def _ask_what_now(error: MtrError, answers: Answers, *, can_write: bool) -> str:
    """Ask what to do about ``error``; return a key of the choices."""
    choices = dict(_OTHERS)
    if isinstance(error, AuthenticationFailed):
        _write(f"How do you log in to {reveal_controls(answers.destination)}?\n")
        choices = {**_LOGINS, **_OTHERS}
    elif isinstance(error, ConnectError):
        # What is just out of reach asks nothing; anything else may be a question that ssh was not allowed to ask.
        again = "try again, and let ssh ask what it must" if type(error) is ConnectError else "try again"
        choices = {"change": _OTHERS["change"], "prompt": again, **_OTHERS}
    if not can_write:
        del choices["write"]
    return list(choices)[_choose("What now?", list(choices.values()))]


def _ask_login(how: str, answers: Answers) -> Answers:
    """Return ``answers`` with the login that was chosen."""
    if how == "password":
        return answers.with_login(password=_ask_password(answers))
    if how == "prompt":
        return answers
    questions: dict[str, tuple[str, Callable[[str], str]]] = {
        "password_command": ("Command", _checked("password_command")),
        "password_env": ("Name of the variable", _checked("password_env")),
        "key_filename": ("Key file", lambda text: resolve_key_filename(text, os.getcwd(), os.environ)),
    }
    question, take = questions[how]
    return answers.with_login(**{how: _ask(question, take)})


def _ask_password(answers: Answers) -> Secret:
    """Ask for the password without showing it."""
    from getpass import getpass

    while True:
        typed = getpass(f"Password for {reveal_controls(answers.destination)} (does not show): ", sys.stderr)
        try:
            ensure_sound("password", typed)
        except UsageError as error:
            _write(f"  {error.message}\n")
            continue
        return Secret(typed)
