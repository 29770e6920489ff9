"""Where downloads go, for ``mtr get`` and after a run: planned before anything is done, so that a mistake costs no run.

After a run (``--pull``, ``--get`` with a command): what is asked for comes when the command has ended, failed or not.
The status is the command's own unless that is 0 and something could not be brought, or a pattern matches nothing: then
125. After Ctrl-C (130) nothing is brought, nor where the command's fate is unknown.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mtr.ending import describe_status
from mtr.errors import MtrError
from mtr.process.signals import Interrupted
from mtr.sync.download import bring, choose_destination, choose_download_dir, list_failures
from mtr.sync.sources import DownloadFailed, split_place
from mtr.voice import clear_line, render_bytes, render_count, show_error

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mtr.command_line import Invocation
    from mtr.ssh.line import Line
    from mtr.sync.download import Destination, Downloaded
    from mtr.voice import Voice
    from mtr.workflow import Target

INTERRUPTED = 130


class Pull:
    """What is to be brought, from where, to where; names count from ``base``, as a rule the project there."""

    def __init__(
        self, target: Target, remotes: Sequence[str], destination: Destination, voice: Voice, *, base: str | None = None
    ) -> None:
        self.target = target
        self.base = base or target.remote_dir
        self.remotes = tuple(remotes)
        self.destination = destination
        self._voice = voice

    def bring(self, line: Line, *, force: bool = False) -> Downloaded:
        """Bring it, with progress on a terminal; raises as :func:`mtr.sync.download.bring`."""
        voice = self._voice.renew()
        voice.label = "get"
        progress = voice.show_count
        try:
            result = bring(line, self.base, self.remotes, self.destination, force=force, on_progress=progress)
        finally:
            clear_line()
        if result.failed and self.target.subdir and any(remote[:1] not in {"/", "~"} for remote in self.remotes):
            voice.say(f"names count from {self.base} there, and not from {self.target.subdir} in it")
        return result

    def after(self, status: int, line: Line) -> int:
        """Bring it after a command that has ended with ``status``; return the status for mtr to exit with."""
        self._voice.enter("pull")
        if status == INTERRUPTED:
            self._voice.say(f"interrupted: nothing was brought; mtr get {self.render()}")
            return status
        try:
            result = self.bring(line)
            failures = list_failures(result)
        except MtrError as error:
            return self._settle(status, error)
        except Interrupted:
            # The command has ended by itself; the status alone would say that it was cut off.
            self._voice.say(f"the command had ended with {describe_status(status)}; the rest: mtr get {self.render()}")
            raise
        if result.files:
            self._voice.show_done(render_done(result, line.server_name))
        if not failures:
            return status
        hint = next((failure.hint for failure in result.failed if failure.hint), "") or f"mtr get {self.render()}"
        return self._settle(status, DownloadFailed(failures[0], detail="\n".join(failures[1:]), hint=hint))

    def _settle(self, status: int, error: MtrError) -> int:
        """Show why not everything was brought; return the command's own status, unless that is 0."""
        show_error(error)
        if status == 0:
            self._voice.note(by="mtr", error=error)
        return status or error.exit_status

    def render(self) -> str:
        """Return what is to be brought, as it would be typed."""
        import shlex

        return shlex.join(self.remotes)

    def describe(self) -> list[str]:
        """Return what a dry run says of it."""
        where = "into" if self.destination.is_directory else "as"
        name = self.target.server.name
        return [
            f"# then, unless it was interrupted: {remote} of {name} (from {self.base}) {where} {self.destination.path}"
            for remote in self.remotes
        ]


def plan_pull(invocation: Invocation, environ: Mapping[str, str], voice: Voice, *, asks: bool = True) -> Pull:
    """Return what a run is to bring when its command has ended; ``asks`` sees that it is allowed.

    Raises:
        NotTrusted: the project's files choose a place for it that the user has not allowed.
        DownloadFailed: there is no such place, or no such name.
    """
    from mtr.workflow import load_target

    remotes = [*([invocation.get] if invocation.get else []), *invocation.pull]
    target = load_target(invocation.directory, invocation.server, environ, needs_project=invocation.sync)
    destination = resolve_destination(
        target, remotes, invocation.to, environ, voice, directory=invocation.directory, checks=asks
    )
    for remote in remotes:
        split_place(target.remote_dir, remote)
    return Pull(target, remotes, destination, voice)


def resolve_destination(
    target: Target,
    remotes: Sequence[str],
    local: str | None,
    environ: Mapping[str, str],
    voice: Voice | None,
    *,
    directory: str | None = None,
    checks: bool = True,
) -> Destination:
    """Return where ``remotes`` go: ``local``, else the configured directory, which may need trust.

    A relative ``local`` counts from ``directory``, the current one. On a terminal, ``voice`` asks for the trust;
    without ``checks`` nothing is asked or refused.

    Raises:
        NotTrusted: the project's files choose the place, and the user has not allowed it.
        DownloadFailed: there is no such place.
    """
    from mtr.config.trust import ensure_trusted

    if local is not None:
        return choose_destination(local, remotes, start=os.path.abspath(directory or os.curdir))
    server = target.server
    if checks and server.download_claim is not None:
        if voice is not None:
            from mtr.workflow import ask_for_trust

            ask_for_trust(server.download_claim, environ, voice)
        ensure_trusted(server.download_claim, environ)
    return choose_download_dir(target.project.root, server.download_dir)


def render_done(result: Downloaded, server_name: str) -> str:
    """Return e.g. ``got 3 files (12 kB) from gpu-01: /home/me/project/downloads``."""
    same = f", {result.same:,} here already" if result.same else ""
    files = render_count(result.files, "file")
    return f"got {files} ({render_bytes(result.size_bytes)}) from {server_name}{same}: {result.target}"
