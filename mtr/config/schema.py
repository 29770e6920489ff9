r"""The JSON Schema (draft 2020-12) of a configuration file: the one list of keys that exist.

Editors read it for completion and descriptions, ``validate`` checks files with it. ``patternErrorMessage`` is
an annotation that editors know, and the words of our own message. A pattern ends with ``(?![\s\S])``, since ``$``
would let a newline through at the end of the text.
"""

from __future__ import annotations

from typing import Any

from mtr.config.policy import SIZE_PATTERN

PASSWORD_KEYS = ("password", "password_env", "password_command")

_END = r"(?![\s\S])"
_NOT_SHELL = r"""[^\s\x00-\x1f\x7f-\x9f'`"$\\;&<>|(){}]"""


def _rule(pattern: str, message: str) -> dict[str, Any]:
    return {"pattern": pattern, "patternErrorMessage": message}


_LINE = _rule(
    rf"^[^\x00-\x08\x0a-\x1f\x7f]+{_END}", "must be one line of text, neither empty nor with control characters"
)
_TEXT = _rule(rf"^[^\x00]*{_END}", "must not hold a NUL character")

HOST_PATTERN = rf"^(?!-){_NOT_SHELL}+{_END}"
"""ssh.c, valid_hostname(): what ssh itself takes for a host since OpenSSH 9.6; older ones hand it to a shell."""

USER_PATTERN = rf"""^(?!-)(?![\s\S]*\s-)(?![\s\S]*\\{_END})[^\x00-\x1f\x7f-\x9f'`";&<>|(){{}}]+{_END}"""
"""ssh.c, valid_ruser()."""

_NAME = _rule(HOST_PATTERN, "must be one word without quotes and shell characters, and not begin with -")
_HOST = {
    "allOf": [_NAME, _rule(rf"^(?![^:/]*:[0-9]+{_END})", "takes no port; write it under `port`")],
}
_USER = _rule(USER_PATTERN, "must be a user name without quotes and shell characters, and not begin with -")
_ALIAS = _rule(rf"^\w[\w.+-]*{_END}", "is not the name of an alias: letters, digits, _ . + and - only")
_ENV_NAME = _rule(rf"^[A-Za-z_][A-Za-z0-9_]*{_END}", "is not the name of a variable: letters, digits and _ only")
_OPTION_NAME = _rule(rf"^[A-Za-z][A-Za-z0-9]*{_END}", "is not the name of an option of ssh_config(5)")


def _describe(description: str, kind: str | list[str], **more: Any) -> dict[str, Any]:
    return {"description": description, "type": kind, **more}


def _list_of_patterns(description: str) -> dict[str, Any]:
    return _describe(description, ["array", "null"], items={"type": "string", **_LINE})


SHARED_KEYS: dict[str, Any] = {
    "user": _describe("The user to log in as.", "string", **_USER),
    "port": _describe("The port of the ssh server.", "integer", minimum=1, maximum=65535),
    "key_filename": _describe("The private key to log in with; no other key is then tried.", "string", **_LINE),
    "remote_dir": _describe(
        "The project's directory on the server, made when missing; {project}, {branch} and {user} (yours, on this "
        "machine) are filled in. Default: ~/mtr/NAME-HASH, one for each checkout.",
        "string",
        **_LINE,
    ),
    "shell": _describe(
        "The shell that runs pre_cmd and shell strings: auto (bash, else sh), a name or a path.",
        "string",
        **_rule(rf"^(?!-)[^\x00-\x1f\x7f]+{_END}", "must be `auto`, the name of a shell, or a path"),
    ),
    "pre_cmd": _describe("Shell code that runs in remote_dir before each command.", "string", **_TEXT),
    "python": _describe(
        "The Python environment that commands run in, without any rc file: conda:NAME, conda:/PREFIX, or venv:PATH, "
        "relative to remote_dir.",
        "string",
        **_rule(
            rf"^(conda|venv):[^\x00-\x1f\x7f]+{_END}", "must be conda:NAME, conda:/PREFIX or venv:PATH, on the server"
        ),
    ),
    "env_file": _describe(
        "A file here with NAME=VALUE lines, environment variables of the command; weaker than `env`. It stays here. "
        "Relative to the project's root.",
        "string",
        **_LINE,
    ),
    "env": _describe(
        "Environment variables of the command.",
        ["object", "null"],
        propertyNames=_ENV_NAME,
        additionalProperties={"type": ["string", "number"], **_TEXT},
    ),
    "ssh_options": _describe(
        "Options of ssh_config(5).",
        ["object", "null"],
        propertyNames=_OPTION_NAME,
        additionalProperties={"type": ["string", "integer", "boolean"], **_LINE},
    ),
    "client": _describe(
        "What connects: openssh, paramiko (in its place, on a machine without it), or auto: ssh where it is installed.",
        "string",
        enum=["auto", "openssh", "paramiko"],
    ),
    "sync": _describe("What transfers files; auto chooses by size.", "string", enum=["auto", "tar", "rsync", "sftp"]),
    "exclude": _list_of_patterns("Patterns, as in .gitignore, of files that stay here; the lists of all files add up."),
    "include": _list_of_patterns("Patterns of files that are synced although an ignore file leaves them out."),
    "respect_gitignore": _describe("Whether .gitignore files count.", "boolean"),
    "delete": _describe(
        "What sync deletes on the server: tracked (files that it put there), mirror (everything that is not here), "
        "or never.",
        "string",
        enum=["tracked", "mirror", "never"],
    ),
    "download_dir": _describe("Where downloads go; relative to the project's root.", "string", **_LINE),
    "notify": _describe(
        "How the end of each job started from here is told: bell (the terminal it was started from), desktop, or a "
        "command that is run here.",
        "string",
        **_LINE,
    ),
}
"""Keys that make sense for all servers at once: ``defaults`` takes them, and so does each server."""

SERVER_KEYS: dict[str, Any] = {
    "host": {
        "description": "An address, a Host of ~/.ssh/config, or a list tried in order. Default: the server's name.",
        "type": ["string", "array"],
        "minItems": 1,
        "items": {"type": "string", **_HOST},
        **_HOST,
    },
    **SHARED_KEYS,
    "password": _describe(
        "The password. Only in a file that nobody else can read; never commit it.", "string", **_LINE
    ),
    "password_env": _describe("The environment variable here that holds the password.", "string", **_ENV_NAME),
    "password_command": _describe("A command here whose first line of output is the password.", "string", **_LINE),
}


def _list_of_commands(description: str) -> dict[str, Any]:
    return _describe(description, "array", items={"type": "string", **_TEXT})


POLICY_KEYS: dict[str, Any] = {
    "servers": _describe(
        "The servers that an agent may use; local is this machine. Default: all that are configured, and local.",
        "array",
        items={"type": "string", **_NAME},
    ),
    "allow": _list_of_commands(
        "The only commands that may run, word by word; * alone at the end takes any further words, elsewhere a part of "
        "one word. They are executed as words, by no shell. Left out: everything may run."
    ),
    "deny": _list_of_commands("Commands that are refused. Advice against accidents: a shell has many ways to one end."),
    "confirm": _list_of_commands("Commands that the person is asked about first; refused where nobody can be asked."),
    "read_only": _describe("Whether no file is put or synced to a server, and nothing but `allow` runs.", "boolean"),
    "max_timeout": _describe("The most seconds that one command may take.", "integer", minimum=1, maximum=31_536_000),
    "max_output": {
        "description": "The most output in one answer: bytes, or a size such as 1MB or 512KiB.",
        "type": ["string", "integer"],
        "minimum": 1,
        "maximum": 10**12,
        **_rule(SIZE_PATTERN, "must be a size: 200000, 512KiB, 1MB"),
    },
    "max_running": _describe("The most commands that run at once.", "integer", minimum=1, maximum=10_000),
    "audit_log": _describe(
        "The file that the audit log goes to, absolute or ~/...; in your own configuration alone. Default: audit.log "
        "in mtr's state directory.",
        "string",
        **_rule(rf"^(/|~/)[^\x00-\x1f\x7f]+{_END}", "must be an absolute path, or begin with ~/"),
    ),
}
"""What an agent may do; the policies of several files all count, and each can only restrict."""

_SERVER: dict[str, Any] = {
    "type": ["object", "null"],
    "properties": SERVER_KEYS,
    "additionalProperties": False,
    "allOf": [
        {"not": {"type": "object", "required": pair}}
        for pair in (
            ["password", "password_env"],
            ["password", "password_command"],
            ["password_env", "password_command"],
        )
    ],
}

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Configuration of mtr",
    "type": ["object", "null"],
    "properties": {
        "default": _describe("The server that runs go to; else the first one under servers.", "string", **_LINE),
        "defaults": {
            "description": "Settings that hold for every server, unless it has its own.",
            "type": ["object", "null"],
            "properties": SHARED_KEYS,
            "additionalProperties": False,
        },
        "servers": {
            "description": "The servers by name.",
            "type": ["object", "null"],
            "propertyNames": _NAME,
            "additionalProperties": _SERVER,
        },
        "aliases": _describe(
            "First words that stand for a longer command line, options of mtr included; text behind ! is for the "
            "server's shell.",
            ["object", "null"],
            propertyNames=_ALIAS,
            additionalProperties={"type": "string", **_TEXT},
        ),
        "policy": {
            "description": "What an AI agent that drives mtr may do; every file's policy counts, and only restricts.",
            "type": "object",
            "properties": POLICY_KEYS,
            "additionalProperties": False,
        },
    },
    "additionalProperties": False,
}
