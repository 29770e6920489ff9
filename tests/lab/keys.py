"""A person at an interactive shell: types keys, presses TAB, sees what the line becomes."""

from __future__ import annotations

import re
import shlex
import sys
from typing import TYPE_CHECKING

import pexpect

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.home import Home

ARGV = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
MTR = f"{shlex.quote(sys.executable)} -m mtr"
_ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[()][A-Z0-9])")
_PROMPT = "ready> "


class Keys:
    """An interactive ``shell``; ``first`` is what its start-up file would do before mtr's part."""

    def __init__(self, shell: str, home: Home, cwd: Path, *, first: str = "", options: str = "") -> None:
        self.shell = shell
        environ = {**home.environ, "TERM": "dumb" if shell == "zsh" else "xterm", "PS1": ""}
        self.child = pexpect.spawn(
            ARGV[shell][0],
            ARGV[shell][1:],
            cwd=str(cwd),
            env=environ,
            dimensions=(50, 150),
            timeout=30,
            encoding="utf-8",
        )
        prompt = f"function fish_prompt; printf '{_PROMPT}'; end" if shell == "fish" else f"PS1='ready''{_PROMPT[5:]}'"
        self.child.sendline(prompt)
        self.child.expect_exact(_PROMPT)
        if shell == "fish":
            self.child.expect_exact(_PROMPT)
        for line in filter(None, (first, self.build_init(options))):
            self.run(line)

    def build_init(self, options: str) -> str:
        """Return what stands in the start-up file of this shell."""
        if self.shell == "fish":
            return f"{MTR} shell-init fish {options} | source"
        return f'eval "$({MTR} shell-init {self.shell} {options})"'

    def run(self, line: str) -> str:
        """Run ``line`` and return what it prints."""
        self.child.sendline(f"{line}; echo done''-at")
        self.child.expect("done-at")
        shown = _ESCAPES.sub("", self.child.before)
        self.child.expect_exact(_PROMPT)
        return shown.replace("\r", "")

    def show_words(self, *commands: str) -> None:
        """Let ``commands`` print their words from now on; what completes them stays."""
        for name in commands:
            if self.shell == "fish":
                self.run(f"function {name}; printf '<%s>' $argv; echo; end")
            else:
                self.run(f"function {name} {{ printf '<%s>' \"$@\"; echo; }}")

    def complete(self, line: str) -> str:
        """Type ``line``, press TAB, then Return; return the words that the command gets: ``<a><b>``.

        A shell takes the next key only when it is done with the one before.
        """
        self.child.send(f"{line}\t\r")
        self.child.expect(r"(<[^\r\n]*>)\r*\n")
        found = str(self.child.match[1])
        self.run("true")
        return found

    def close(self) -> None:
        """End the shell."""
        self.child.close(force=True)
