"""The files of ssh_config(5) as ssh would read them, and the hosts that they name.

Reads the user's ``~/.ssh/config``, the system's ``/etc/ssh/ssh_config`` and everything they include, without
telling which blocks apply to a host: ssh itself decides that (``ssh -G``). What is missing or unreadable is left
out, as ssh leaves it out.
"""

from __future__ import annotations

import glob
import os
import re
import shlex
import stat
from dataclasses import dataclass

from mtr.config.model import home_dir
from mtr.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

SYSTEM_FILE = "/etc/ssh/ssh_config"
MAX_INCLUDE_DEPTH = 16
"""readconf.c, READCONF_MAX_DEPTH."""

MAX_BYTES = 4 << 20

_LINE = re.compile(r"\s*(\w+)(?:\s*=\s*|\s+)(.*)")
_WORD = re.compile(r"""(?:"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|\\.|[^\s"'\\])+""")
_QUOTING = re.compile(r"""\\(["'\\ ])|["']""")
_VARIABLE = re.compile(r"\$\{(\w+)\}")


def own_file(environ: Mapping[str, str]) -> str:
    """Return the path of the file that ``mtr ssh-config`` writes, whether or not it is there."""
    from mtr.config.load import user_config_file

    return os.path.normpath(user_config_file(environ).parent / "ssh_config")


def user_file(environ: Mapping[str, str]) -> str:
    """Return the path of the user's own file of ssh_config(5)."""
    return f"{home_dir(environ)}/.ssh/config"


@dataclass(frozen=True, slots=True)
class SshConfigFile:
    """A file that ssh reads; ``stat`` is (device, inode, size, mtime in ns, ctime in ns)."""

    path: str
    data: bytes
    stat: tuple[int, int, int, int, int]


def read_ssh_config_files(environ: Mapping[str, str], system_file: str = SYSTEM_FILE) -> tuple[SshConfigFile, ...]:
    """Return every file of ssh's configuration, each once, in the order in which ssh meets them."""
    home = home_dir(environ)
    found: dict[str, SshConfigFile] = {}
    place = _Place(home, environ, found, own_file(environ))
    for path in (f"{home}/.ssh/config", system_file):
        _read_with_includes(path, os.path.dirname(path), place, 0)
    return tuple(found.values())


def read_flat(environ: Mapping[str, str], system_file: str = SYSTEM_FILE) -> str:
    """Return the user's configuration, then the system's, as one text with every ``Include`` filled in.

    Raises:
        ConfigError: an ``Include`` stands inside a ``Host`` or ``Match`` block, where it holds for some hosts alone, or
            a ``Match`` asks for what only ssh can tell.
    """
    home = home_dir(environ)
    place = _Place(home, environ, {}, own_file(environ))
    paths = (f"{home}/.ssh/config", system_file)
    return "".join(f"Host *\n{_flatten(path, os.path.dirname(path), place, 0)}" for path in paths)


_CRITERIA = frozenset(("all", "canonical", "final", "host", "originalhost", "user", "localuser"))
"""What ``Match`` may ask for where no ssh answers: no program, no network, no version."""

_FOR_ALL = ({"all"}, {"final", "all"}, {"canonical", "all"})


def _flatten(path: str, base: str, place: _Place, depth: int) -> str:
    """Return the lines of one file without comments and quotes, and with what it includes."""
    file = _read(path)
    if file is None:
        return ""
    if depth > MAX_INCLUDE_DEPTH:
        # ssh refuses it as well: files that include each other are no configuration.
        raise ConfigError(f"{path}: more than {MAX_INCLUDE_DEPTH} files include each other", hint=f"$EDITOR {path}")
    text, in_block = "", False
    for keyword, words in _parse(file.data):
        if keyword in ("host", "match"):
            in_block = words != ["*"] if keyword == "host" else {word.lower() for word in words} not in _FOR_ALL
            _ensure_known_criteria(path, keyword, words)
        if keyword != "include":
            # The same in one word, which is how paramiko reads it.
            is_final = keyword == "match" and [word.lower() for word in words] == ["final", "all"]
            text += "match final\n" if is_final else f"{keyword} {_join(words)}\n"
            continue
        if in_block:
            hint = "write it before the first Host and Match, or install the OpenSSH client"
            raise ConfigError(f"{path}: an Include inside a block is understood by ssh alone", hint=hint)
        for pattern in words:
            for included in place.list_paths(pattern, base):
                text += f"{_flatten(included, base, place, depth + 1)}Host *\n"
    return text


def _ensure_known_criteria(path: str, keyword: str, words: Sequence[str]) -> None:
    """Refuse a ``Match`` that only ssh itself can decide: what cannot be told must not count as a match."""
    criteria = [word.lower().removeprefix("!").partition("=")[0] for word in words] if keyword == "match" else []
    index = 0
    while index < len(criteria):
        if criteria[index] not in _CRITERIA:
            hint = "install the OpenSSH client, or leave the block out"
            raise ConfigError(f"{path}: Match {' '.join(words)}: only ssh itself can decide that", hint=hint)
        takes_argument = criteria[index] not in ("all", "canonical", "final") and "=" not in words[index]
        index += 2 if takes_argument else 1


def _join(words: Sequence[str]) -> str:
    """Return the arguments of a line as one text; only where there are several, blanks in one need quotes."""
    if len(words) == 1:
        return words[0]
    return " ".join(shlex.quote(word) if any(c.isspace() for c in word) else word for word in words)


def list_dependencies(environ: Mapping[str, str], system_file: str = SYSTEM_FILE) -> tuple[list[str], list[str]]:
    """Return what ssh's answer about a host depends on: paths of files and directories, there or not; variables."""
    home = home_dir(environ)
    files, own = read_ssh_config_files(environ, system_file), own_file(environ)
    paths = [f"{home}/.ssh/config", system_file, *(file.path for file in files)]
    variables = {name for file in files for name in _VARIABLE.findall(os.fsdecode(file.data))}
    for file in files:
        base = os.path.dirname(file.path)
        for keyword, words in _parse(file.data):
            for pattern in words if keyword == "include" else ():
                place = _Place(home, environ, {}, own).expand(pattern, base)
                # A file that appears there would be read as well.
                paths.append(os.path.dirname(place) if glob.has_magic(place) else place)
                if os.path.normpath(place) == own:
                    paths.pop()
    return list(dict.fromkeys(paths)), sorted(variables)


def find_own_include(data: bytes, environ: Mapping[str, str]) -> str:
    """Return where the user's file includes mtr's: ``top``, ``block`` (in a ``Host`` or ``Match``), or "" nowhere."""
    in_block = ""
    for keyword, words in _parse(data):
        if keyword in ("host", "match"):
            in_block = "" if words == ["*"] or [word.lower() for word in words] == ["all"] else "block"
        if keyword == "include" and any(_names_own(word, environ) for word in words):
            return in_block or "top"
    return ""


def drop_own_include(data: bytes, environ: Mapping[str, str]) -> bytes:
    """Return the user's file without mtr's in its ``Include`` lines; every other line stays, in its place."""
    lines = os.fsdecode(data).split("\n")
    for index, line in enumerate(lines):
        for keyword, words in _parse(os.fsencode(line)):
            if keyword == "include" and any(_names_own(word, environ) for word in words):
                kept = [path for word in words for path in _list_others(word, environ)]
                lines[index] = " ".join(["Include", *(f'"{path}"' for path in kept)]) if kept else ""
    return os.fsencode("\n".join(lines))


def _names_own(pattern: str, environ: Mapping[str, str]) -> bool:
    """Tell whether an ``Include`` of ``pattern`` in the user's file reads mtr's own."""
    expanded = _Place(home_dir(environ), environ, {}, "").expand(pattern, os.path.dirname(user_file(environ)))
    own = own_file(environ)
    return os.path.normpath(expanded) == own or own in map(os.path.normpath, glob.glob(expanded))


def _list_others(pattern: str, environ: Mapping[str, str]) -> list[str]:
    """Return what else a pattern names that may name mtr's own file."""
    if not _names_own(pattern, environ):
        return [pattern]
    return _Place(home_dir(environ), environ, {}, own_file(environ)).list_paths(
        pattern, os.path.dirname(user_file(environ))
    )


def literal_hosts(files: Iterable[SshConfigFile]) -> tuple[str, ...]:
    """Return the names on ``Host`` lines that are no patterns, each once, in order."""
    names = (
        name
        for file in files
        for keyword, words in _parse(file.data)
        if keyword == "host"
        for name in words
        if not set(name) & set("*?!")
    )
    return tuple(dict.fromkeys(names))


@dataclass(frozen=True, slots=True)
class _Place:
    """What the expansion of a path depends on, and the files found so far by path."""

    home: str
    environ: Mapping[str, str]
    found: dict[str, SshConfigFile]
    own: str

    def list_paths(self, pattern: str, base: str) -> list[str]:
        """Return the files that an ``Include`` names: ``~``, ``${VAR}`` and globs expanded, sorted."""
        return [path for path in sorted(glob.glob(self.expand(pattern, base))) if os.path.normpath(path) != self.own]

    def expand(self, pattern: str, base: str) -> str:
        """Return ``pattern`` with ``~`` and ``${VAR}`` expanded, as an absolute path; globs stay."""
        text = _VARIABLE.sub(lambda part: self.environ.get(part[1], ""), pattern)
        if text.startswith("~/"):
            text = self.home + text[1:]
        return os.path.join(base, text)


def _read_with_includes(path: str, base: str, place: _Place, depth: int) -> None:
    if path in place.found or depth > MAX_INCLUDE_DEPTH:
        return
    file = _read(path)
    if file is None:
        return
    place.found[path] = file
    for keyword, words in _parse(file.data):
        for pattern in words if keyword == "include" else ():
            for included in place.list_paths(pattern, base):
                _read_with_includes(included, base, place, depth + 1)


def _read(path: str) -> SshConfigFile | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError):
        return None
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        return None
    with os.fdopen(descriptor, "rb") as stream:
        kept = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_BYTES:,} bytes", hint=f"ls -l {shlex.quote(path)}")
    return SshConfigFile(path, data, kept)


def _parse(data: bytes) -> Iterator[tuple[str, list[str]]]:
    """Return each line's keyword, in lower case, and its arguments; comments and odd lines are left out."""
    for line in os.fsdecode(data).split("\n"):
        # As for ssh, which reads a line as a text of C.
        matched = _LINE.match(line.partition("\0")[0].rstrip())
        if matched is not None:
            yield matched[1].lower(), list(_split(matched[2]))


def _split(text: str) -> Iterator[str]:
    """Return the words of a line: quotes group, a word that begins with ``#`` starts a comment (misc.c)."""
    for word in _WORD.findall(text):
        if word.startswith("#"):
            return
        yield _QUOTING.sub(lambda part: part[1] or "", word)
