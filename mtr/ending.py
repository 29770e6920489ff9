"""How a command ended, in words for the person who waited for it. Loaded only where that is told."""

from __future__ import annotations

import signal

from mtr.voice import render_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

FULL_SCREEN = frozenset(
    (
        "btop", "emacs", "htop", "less", "man", "mc", "more", "nano", "nvim", "nvitop", "nvtop", "screen", "tail",
        "tig", "tmux", "top", "vi", "view", "vim", "watch", "zellij",
    )
)  # fmt: skip
"""Programs that end when the person in front of them says so: how long that took is no news."""

READERS = frozenset(("bash", "dash", "fish", "ipython", "julia", "ksh", "lua", "node", "psql", "python", "python3",
                     "R", "sh", "sqlite3", "zsh"))  # fmt: skip
"""Such programs where they stand alone: with a script they are at work."""


def is_conversation(words: Sequence[str]) -> bool:
    """Tell whether ``words`` start what a person ends themselves: an editor, a pager, a shell."""
    words = words[0].split() if len(words) == 1 else words
    name = words[0].rpartition("/")[2] if words else ""
    return name in FULL_SCREEN or (name in READERS and all(word.startswith("-") for word in words[1:]))


def describe_end(status: int, took_s: float) -> str:
    """Return e.g. ``ended with 137 (SIGKILL) after 3 min 2 s``."""
    return f"ended with {describe_status(status)} after {render_duration(took_s)}"


def describe_status(status: int) -> str:
    """Return ``status``, with the signal that it stands for: ``137 (SIGKILL)``."""
    try:
        return f"{status} ({signal.Signals(status - 128).name})" if status > 128 else str(status)
    except ValueError:
        return str(status)
