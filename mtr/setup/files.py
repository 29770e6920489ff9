"""What the answers look like as the files of ``.mtr/``. Pure.

``config.yaml`` is for everybody who works on the project: no user, no key, no secret. ``local.yaml`` has these, is for
its user alone, and exists only where there is something to say. ``.gitignore`` keeps it out of git.

That file stands in ``.mtr/`` and not at the top of the project: nothing of the user's is edited, it wins over what the
``.gitignore`` files above say, and it goes wherever the directory goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mtr.config.render import render_scalar
from mtr.setup.answers import PERSONAL, SHARED

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mtr.setup.answers import Answers

IGNORED = ("local.yaml", "logs/")

_CONFIG_HEAD = """\
# How mtr reaches this project's servers. Fit to be committed: what is one
# user's alone (user, key, password) stands in .mtr/local.yaml, which git does
# not see. Is a change right? mtr config check

"""
_FROM_SSH_CONFIG = """\
    # A Host of ~/.ssh/config, which says the rest. Others who work on this need
    # one of that name, too, or a `host` in a .mtr/local.yaml of their own.
"""
_CONFIG_MORE = """\
    # All that follows is as it is without these lines, or an example.
    # remote_dir: ~/projects/{project}    # else one of mtr's own, in ~/mtr
    # python: conda:torch                 # an environment there, or venv:.venv
    # pre_cmd: module load cuda/12.4      # shell code before each command
    # env:
    #   CUDA_VISIBLE_DEVICES: 0

# defaults:                               # for every server
#   exclude: ["*.ckpt", wandb/]           # stays here, besides .gitignore's
#   include: [data/small.csv]             # goes there in spite of .gitignore
#   download_dir: downloads               # where `mtr get` puts what it brings
"""
_LOCAL_HEAD = """\
# Yours alone, for this project: not in git, readable by nobody else. What
# stands here counts over config.yaml.

"""


def render_config(answers: Answers, *, is_host_block: bool) -> bytes:
    """Return ``config.yaml``; ``is_host_block`` says that the host is a name of ssh's configuration alone."""
    head = f"default: {render_scalar(answers.name)}\n\n"
    block = render_block(answers, SHARED, comment=_FROM_SSH_CONFIG if is_host_block else "")
    # What is answered needs no example.
    given = tuple(f"    # {key}:" for key in answers.list_keys(SHARED))
    more = "".join(line for line in _CONFIG_MORE.splitlines(keepends=True) if not given or not line.startswith(given))
    return f"{_CONFIG_HEAD}{head}{block}{more}".encode()


def render_local(answers: Answers, *, masked: bool = False) -> bytes | None:
    """Return ``local.yaml``, or None where nothing is personal; ``masked`` shows no password."""
    if not answers.list_keys(PERSONAL):
        return None
    return f"{_LOCAL_HEAD}{render_block(answers, PERSONAL, masked=masked)}".encode()


def render_block(answers: Answers, keys: tuple[str, ...], *, comment: str = "", masked: bool = True) -> str:
    """Return ``servers`` with this one server and those of ``keys`` that were answered."""
    lines = [f"servers:\n  {render_scalar(answers.name)}:\n", comment]
    for key, value in answers.list_keys(keys).items():
        shown = value
        if key == "password":
            shown = str(value) if masked else value.reveal()
        lines.append(f"    {key}: {render_scalar(shown)}\n")
    return "".join(lines)


def extend_ignore(before: bytes | None) -> bytes | None:
    """Return ``.mtr/.gitignore`` with what must be in it, or None where ``before`` has it already.

    Line endings stay as they are, and a last line without its end gets one.
    """
    if before is None:
        return "".join(f"{name}\n" for name in IGNORED).encode()
    have = [line.strip() for line in before.decode(errors="surrogateescape").splitlines()]
    missing = [name for name in IGNORED if not _is_ignored(name, have)]
    if not missing:
        return None
    end = b"\r\n" if b"\r\n" in before else b"\n"
    joint = b"" if not before or before.endswith(b"\n") else end
    return before + joint + b"".join(name.encode() + end for name in missing)


def _is_ignored(name: str, lines: Iterable[str]) -> bool:
    """Tell whether ``lines`` leave ``name`` out; any line behind that takes something back counts as taking it back."""
    found = False
    for line in lines:
        if line.startswith("!"):
            found = False
        elif line.strip("/") in (name.rstrip("/"), "*", "**"):
            found = True
    return found
