"""What is to be made of a server's answers: its facts as findings. Pure."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mtr.doctor.check import Finding, Skipped, fail, ok, warn
from mtr.doctor.facts import name_rsync
from mtr.doctor.remedies import render_install, render_sshd_line, render_there
from mtr.voice import render_bytes, render_count, render_span

if TYPE_CHECKING:
    from collections.abc import Callable

    from mtr.doctor.facts import ServerFacts

LOW_BYTES = 1_000_000_000
LEAST_BYTES = 1_000_000
LOW_INODES = 10_000
LEAST_INODES = 100

CLOCK_S = 2.0
"""make, and whatever else compares times of files, goes wrong by less than people see."""

_FOR_STREAMS = ("tar", "gzip", "awk")
"""Without one of these files go over SFTP, one by one."""

_SPARED = (*_FOR_STREAMS, "base64", "stat")


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The facts of the server ``name``; they were asked for at ``asked_s`` and had come at ``came_s`` of this clock."""

    name: str
    remote_dir: str
    facts: ServerFacts
    asked_s: float
    came_s: float
    ssh: str = ""
    """The ssh to this server, for what `mtr` cannot run where it cannot enter the project's directory."""

    def list_checks(self) -> tuple[tuple[str, Callable[[], Finding]], ...]:
        """Return every check that needs nothing but the facts, by id."""
        return (
            ("shell", self.check_shell),
            ("tools", self.check_tools),
            ("rsync", self.check_rsync),
            ("directory", self.check_directory),
            ("disk", self.check_disk),
            ("clock", self.check_clock),
            ("environment", self.check_environment),
            ("logout", self.check_logout),
            ("gpu", self.check_gpu),
        )

    def _install(self, program: str) -> str:
        facts = self.facts
        if not facts.installer:
            return f"install {program} there"
        return render_there(self.name, render_install(program, facts.installer, is_root=facts.is_root))

    def _look(self, text: str) -> str:
        facts = self.facts
        is_entered = facts.is_there or facts.is_written
        return f"{self.ssh} {shlex.quote(text)}" if self.ssh and not is_entered else render_there(self.name, text)

    def check_shell(self) -> Finding:
        """Return the login shell, which has run what it was given."""
        return ok(self.facts.shell or "unknown")

    def check_tools(self) -> Finding:
        """Return whether the small programs are there that mtr's scripts use."""
        missing = self.facts.missing
        vital = [name for name in missing if name not in _SPARED]
        if vital:
            return fail(f"missing: {', '.join(missing)}", self._install(vital[0]))
        if slow := [name for name in missing if name in _FOR_STREAMS]:
            return warn(f"missing: {', '.join(slow)}; files go over SFTP, one by one", self._install(slow[0]))
        if missing:
            return warn(f"missing: {', '.join(missing)}; syncs take more round trips", self._install(missing[0]))
        return ok("all there")

    def check_rsync(self) -> Finding:
        """Return whether rsync is there."""
        if not self.facts.rsync:
            words = "not installed: large files go as one stream, which does not resume after a cut"
            return warn(words, self._install("rsync"))
        return ok(name_rsync(self.facts.rsync))

    def check_directory(self) -> Finding:
        """Return whether the project's directory takes files, or could be made."""
        facts, where = self.facts, self.remote_dir
        if facts.link:
            remedy = render_there(self.name, f"rm {shlex.quote(facts.link)}")
            return fail(f"{facts.link} is a symbolic link, and mtr writes through none", remedy)
        if not facts.is_written:
            tried = "" if facts.is_there else f", tried in {facts.nearest},"
            look = shlex.quote(facts.nearest or "/")
            return fail(
                f"{where}{tried} takes no files\n{facts.refused}".rstrip(),
                self._look(f"ls -ld {look}; df -h {look}; df -i {look}; id"),
            )
        return ok(f"{where} takes files" if facts.is_there else f"{where} will be made in {facts.nearest}")

    def check_disk(self) -> Finding:
        """Return how much the file system takes on which the directory is, or will be."""
        free, inodes = self.facts.free_bytes, self.facts.free_inodes
        if free is None:
            raise Skipped
        words = f"{render_bytes(free)} free" + ("" if inodes is None else f", {inodes:,} inodes")
        look = shlex.quote(self.facts.nearest)
        remedy = self._look(f"df -h {look}; df -i {look}; du -xh {look} | sort -h | tail")
        if free < LEAST_BYTES or (inodes is not None and inodes < LEAST_INODES):
            return fail(words, remedy)
        if free < LOW_BYTES or (inodes is not None and inodes < LOW_INODES):
            return warn(words, remedy)
        return ok(words)

    def check_clock(self) -> Finding:
        """Return by how much the clock there is off against this machine's; half of the round trip is not known."""
        if self.facts.clock_s is None:
            raise Skipped
        error_s = (self.came_s - self.asked_s) / 2 + self.facts.clock_grain_s
        off_s = self.facts.clock_s - (self.asked_s + self.came_s) / 2
        if abs(off_s) - error_s <= CLOCK_S:
            return ok(f"as here, within {max(error_s, abs(off_s)):.2f} s")
        ahead = "ahead of" if off_s > 0 else "behind"
        set_it = "timedatectl set-ntp true" if self.facts.is_root else "sudo timedatectl set-ntp true"
        words = (
            f"{render_span(abs(off_s))} {ahead} this machine's; make goes wrong over that, whichever of them is right"
        )
        return warn(words, render_there(self.name, set_it))

    def check_environment(self) -> Finding:
        """Return what carries a command's environment and a small sync (AcceptEnv of sshd_config(5))."""
        if self.facts.payload == "file":
            words = "AcceptEnv takes neither LC_* nor XMODIFIERS: a small sync, or -e, costs another round trip"
            return warn(words, render_sshd_line(self.name, "AcceptEnv LC_MTR*", is_root=self.facts.is_root))
        return ok(f"travels as {self.facts.payload}{'*' if self.facts.payload == 'LC_MTR' else ''} (AcceptEnv)")

    def check_logout(self) -> Finding:
        """Return whether what goes on in the background outlives the connection (logind.conf(5), loginctl(1))."""
        facts = self.facts
        if facts.lingers is None:
            return ok("background processes go on (no systemd there)")
        if facts.lingers or facts.kills_processes is False:
            why = "lingering is on" if facts.lingers else "KillUserProcesses=no"
            return ok(f"background processes go on ({why})")
        certain = "are ended" if facts.kills_processes else "may be ended"
        words = f"background processes {certain} when the connection closes: lingering is off"
        return warn(words, render_there(self.name, "loginctl enable-linger"))

    def check_gpu(self) -> Finding:
        """Return how many GPUs NVIDIA's driver knows; a server without one is none the worse."""
        if self.facts.gpus is None:
            return ok("no nvidia-smi")
        return ok(f"nvidia-smi is there, {render_count(self.facts.gpus, 'GPU')}")
