"""A delivery: the project's present files on its server, under a token that the gate checks.

    prepare    compare the tree with the manifest; nothing to bring, or a push
    carry      bring a push: in the command's own session, beside it, or before it, by size
    confirm    store what the server has accepted

Guarantees:

- No command starts on a tree that is not the one here: the gate looks for the token of exactly this tree, and a push
  takes its predecessor away before it changes anything.
- What a push may have done is stored before it is sent. Whatever is cut off, the next run sends that again.
- Several at once build on each other's pushes or start over; nobody waits for another's command.

Builtin modules only as long as no name is new and the server is as this machine left it.
"""

from __future__ import annotations

import _thread
import os

from mtr.errors import ConnectionLost, LockTimeout, MtrError, ProjectError, SyncError
from mtr.quoting import build_remote_command, quote_all, quote_posix
from mtr.scripts import load_script
from mtr.ssh.gate import VARIABLE_BYTES
from mtr.sync.manifest import TICK_NS
from mtr.sync.plan import Entry, Plan, Push, TreeMoved, TreeRefused, render_plan

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mtr.ssh.line import Line
    from mtr.sync.manifest import Changes, Manifest, Tree
    from mtr.sync.plan import Kind, Project

PAYLOAD_RAW_BYTES = 1 << 20
PAYLOAD_FILES = 64
"""More than this is not even tried as a payload: one call of ``mv`` per directory takes its time there."""

TAR_BYTES = 16 << 20
"""Up to this a stream beats rsync, which looks at every file there first; past it, rsync sends differences, shows how
far it is and goes on after a cut."""


class Delivery:
    """Brings one project to one server; see the module."""

    def __init__(self, project: Project, manifest: Manifest, line: Line) -> None:
        self.project = project
        self.manifest = manifest
        self.line = line
        self.warnings: tuple[str, ...] = ()
        self.added: set[bytes] = set()

    # -- what is to be brought

    @property
    def is_known(self) -> bool:
        """Whether the manifest says what the tree there is, by the rules of now."""
        tree = self.manifest.tree
        return tree is not None and tree.rules == self.project.rules and self.project.delete != "mirror"

    def is_there(self) -> bool:
        """Ask the server whether its tree is the one that the manifest says."""
        words = [self.project.remote_dir, self.manifest.token]
        return self.line.run_script("remote/token.sh", words).status == 0

    def prepare(self, *, keep: bool = True) -> Push | None:
        """Compare the project with the manifest: return what is to be brought, None if nothing is.

        ``keep`` stores what this look has learnt where nothing is to be brought.

        Raises:
            TreeRefused: there is no manifest to compare with.
            ProjectError: there is no project any more.
        """
        manifest = self.manifest
        if manifest.tree is None:
            raise TreeRefused("nothing is known of the tree there")
        with inside(self.project.root):
            tree, plan = self._compare(manifest.tree, keep=keep)
        self.warnings = tree.warnings
        if plan:
            return Push(plan, manifest.tokens, tree)
        return None

    def _compare(self, tree: Tree, *, keep: bool) -> tuple[Tree, Plan]:
        manifest = self.manifest
        changes = tree.compare()
        uncertain = set(manifest.uncertain)
        if not changes and not uncertain:
            return tree, self._plan([], [])
        before, folders, empty = set(tree.paths), set(tree.folders), set(tree.empty)
        changed = {tree.paths[index] for index in changes.changed}
        if changes.needs_rules or (changes.folders and tree.find_new(changes)):
            looks = tree.looks()
            tree = self._refresh(tree, changes)
            changed |= {path for path, look in tree.looks().items() if looks.get(path, look) != look}
        else:
            self._note(tree, changes)
        present = set(tree.paths)
        if before and not present:
            self._ensure_something()
        upload = sorted((changed | (present - before) | uncertain) & present)
        delete = self._choose_deletes(tree, sorted((before | uncertain) - present), changes.started_ns)
        made = [path for path in tree.empty if path not in empty]
        removed = [path for path in folders - set(tree.folders) if path != b"." and not is_folder(path)]
        plan = self._plan(upload, delete, made, removed)
        self.added = present - before
        if keep and not plan:
            try:
                manifest.keep(tree)
            except (OSError, LockTimeout):
                pass  # The next run looks again.
        return tree, plan

    def _choose_deletes(self, tree: Tree, gone: list[bytes], started_ns: int) -> list[bytes]:
        """Return what of ``gone`` is to be deleted there; what only a rule leaves out now stays on the server.

        What has come back while it was looked at is still there as well: ``tree`` keeps it, as something to look at
        again, or it would stay there for ever once it is gone here.
        """
        deletes = self.project.delete != "never"
        # What a directory has replaced makes way for it in any case.
        chosen = [path for path in gone if is_folder(path) or (deletes and is_gone(path))]
        for path in set(gone).difference(chosen) if deletes else ():
            try:
                is_back = os.lstat(path).st_ctime_ns > started_ns - TICK_NS
            except OSError:
                is_back = True  # It has gone once more.
            if is_back:
                tree.expect(path)
        return chosen

    def _ensure_something(self) -> None:
        """Refuse to take emptiness for a deletion of everything.

        Raises:
            ProjectError: there is nothing at all in the project's directory: an unmounted disk looks just like this.
        """
        if not os.listdir("."):
            hint = "mount its disk; if all of it is to go there too: mtr --no-sync rm -r …"
            raise ProjectError(f"the project directory {self.project.root} is empty", hint=hint)

    def _refresh(self, tree: Tree, changes: Changes) -> Tree:
        from pathlib import Path

        from mtr.sync.ignore import Rules
        from mtr.sync.survey import refresh

        return refresh(tree, changes, Path(self.project.root), Rules(*self.project.rules))  # type: ignore[arg-type]

    def _note(self, tree: Tree, changes: Changes) -> None:
        """Bring ``tree`` up to date where no name is new."""
        for index in changes.changed:
            try:
                tree.note(index, changes.started_ns)
            except OSError:
                changes.gone.append(index)  # it went this moment
        for index in changes.folders:
            tree.note_folder(index, changes.started_ns)
            tree.note_empty(index)
        gone = set(changes.gone)
        if gone:
            for name in ("paths", "ctimes", "inodes", "sizes"):
                setattr(tree, name, [value for i, value in enumerate(getattr(tree, name)) if i not in gone])

    def _plan(
        self,
        upload: list[bytes],
        delete: list[bytes],
        made: list[bytes] | None = None,
        removed: list[bytes] | None = None,
    ) -> Plan:
        deletes = self.project.delete != "never"
        entries = [entry for path in upload if (entry := look_at(path)) is not None]
        return Plan(
            self.project.root,  # type: ignore[arg-type]
            self.project.remote_dir,
            tuple(entries),
            tuple(delete),
            folders=tuple(made or ()),
            rmdirs=tuple(removed or ()) if deletes else (),
        )

    # -- bringing it

    def choose_transport(self, push: Push) -> str:
        """Return ``payload``, ``tar``, ``rsync`` or ``sftp``; a payload is built already."""
        facts, engine, plan = self.line.facts, self.project.engine, push.plan
        size = plan.bytes_total
        if engine in ("rsync", "sftp") and (plan.upload or not facts.archive):
            return engine
        if not facts.archive:
            from mtr.ssh.once import say_once

            say_once(self.line, f"there is no tar with gzip on {self.line.server_name}: files go over SFTP")
            return "sftp"
        fits = size <= PAYLOAD_RAW_BYTES and len(plan.upload) <= PAYLOAD_FILES and engine == "auto"
        if fits and facts.archive == "tar64" and facts.carrier != "file":
            push.text = self._build_payload(push)
            if len(push.text) <= VARIABLE_BYTES * 3 // 4:
                return "payload"
        return "rsync" if size > TAR_BYTES and engine != "tar" and self.can_rsync else "tar"

    @property
    def can_rsync(self) -> bool:
        """Whether rsync may bring files: it is on the server, and here, and understands what it is asked for.

        Where it cannot, that is said, once for each server.
        """
        if not self.line.facts.ssh:
            return False
        from mtr.ssh.once import say_once
        from mtr.sync.rsync import describe_lack

        lack = describe_lack() if self.line.facts.rsync else f"rsync is not installed on {self.line.server_name}"
        if lack:
            say_once(self.line, f"{lack}: large transfers do not resume after a cut")
        return not lack

    def begin(self, push: Push) -> None:
        """Store that ``push`` may come to be.

        Raises:
            TreeMoved: another run has stored something since; compare again.
            MtrError: it cannot be stored, so nothing may be sent.
        """
        try:
            is_begun = self.manifest.begin(push.new, push.run_id, push.plan.paths)
        except OSError as error:
            hint = f"df -h {os.path.dirname(self.manifest.file)}, or do without a sync: mtr --no-sync …"
            message = f"cannot note here what is about to be synced: {error.strerror}; nothing was sent"
            raise MtrError(message, detail=os.fsdecode(error.filename or ""), hint=hint) from error
        if not is_begun:
            raise TreeMoved("another run has changed the tree there")

    def _build_payload(self, push: Push) -> str:
        """Return the sh text that brings ``push`` in the command's own session: see ``gate.sh``."""
        from binascii import b2a_base64

        data = b"".join(self._write_archive(push, inside=False))
        push.sent_bytes = len(data)
        script = build_apply_script(self.project, push, "payload", self.line.facts.stat)
        return (
            f"mtr_push={quote_posix(script)}\nmtr_plan={quote_posix(push.text)}\n"
            f"mtr_tar={b2a_base64(data, newline=False).decode()}\n"
        )

    def _write_archive(self, push: Push, *, inside: bool) -> Iterator[bytes]:
        """Return the compressed archive of ``push`` in pieces; ``inside`` says that the plan travels in it."""
        from mtr.sync.archive import compress, write_archive

        def finish(sent: list[bytes]) -> str | None:
            push.text = render_plan(push.plan, sent)
            push.sent_files = len(sent)
            return push.text if inside else None

        def count(size_bytes: int) -> None:
            push.packed_bytes += size_bytes

        return compress(write_archive(push.plan.upload, self.project.root, push.plan.folders, finish), count)

    def stream(self, push: Push, on_progress: Callable[[int], None] | None = None, *, is_awaited: bool = False) -> None:
        """Bring ``push`` over a session of its own; with ``is_awaited`` a gate waits for it.

        Raises:
            TreeRefused: the server's tree is not what it builds on.
            SyncError: not everything arrived.
        """
        script = build_apply_script(self.project, push, "tar" if is_awaited else "alone", self.line.facts.stat)
        command = build_remote_command(f"mtr-{push.run_id}", script, ())

        is_fed = False

        def feed(write: Callable[[bytes], None]) -> None:
            nonlocal is_fed
            push.sent_bytes, push.packed_bytes, push.text, is_fed = 0, 0, "", False
            for piece in self._write_archive(push, inside=True):
                if on_progress:
                    on_progress(push.packed_bytes)
                write(piece)
                push.sent_bytes += len(piece)
            is_fed = True

        try:
            found = self.line.run_fed(command, feed)
        except ConnectionLost as error:
            known = "whether it was put into place is not known" if is_fed else "nothing of it was put into place"
            message = f"the line to {self.line.label} broke during the sync; {known}"
            raise SyncError(message, detail=error.detail, hint="run it again") from error
        push.is_refused = found.status in (1, 4)
        self.check_applied(found.status, found.stdout, found.stderr)

    def check_applied(self, status: int, stdout: bytes, stderr: bytes) -> None:
        """Say what the server has kept of its own, or why a push was not applied; raises as :meth:`stream`."""
        lines = stdout.decode(errors="replace").split("\n")
        if status in (0, 4):
            for line in lines:
                if line.startswith("mtr-trash "):
                    self.line.says(render_kept(line[10:]))
        if status == 4:
            raise TreeRefused("the tree there is not as this machine left it")
        if status != 0 or "mtr-done" not in lines:
            from mtr.sync.failure import explain_apply

            words, there = stderr.decode(errors="replace"), self.line
            raise explain_apply(words, there.label, self.project.remote_dir, there.server_name)

    def confirm(self, push: Push) -> None:
        """Store that the server has accepted ``push``."""
        self.store(push.tree, push.new)

    def store(self, tree: Tree, token: str) -> None:
        """Store that the server has ``tree`` under ``token``.

        Where that cannot be written, what was noted before the push lets the next run bring it again.
        """
        try:
            self.manifest.confirm(tree, token)
        except (OSError, LockTimeout) as error:
            why = error.message if isinstance(error, LockTimeout) else error.strerror
            self.line.says(f"cannot note here what was synced ({why}): the next run brings it again")


def render_kept(count: str) -> str:
    """Return the line that says what went to the trash."""
    if count == "1":
        return "1 file there was not as this machine had left it, and went to the trash there: mtr undo"
    return f"{count} files there were not as this machine had left them, and went to the trash there: mtr undo"


def build_apply_script(project: Project, push: Push, how: str, stat: str) -> str:
    """Return ``apply.sh`` with its arguments, as sh text."""
    # A record of more lines than this holds mostly old ones.
    lines = str(2 * len(push.tree.paths) + 1000)
    words = [how, project.remote_dir, push.run_id, push.new, " ".join(push.old), project.client, stat, lines]
    return f"set -- {quote_all(words)}\n{load_script('remote/apply.sh')}"


def look_at(path: bytes) -> Entry | None:
    """Return ``path`` as it is now; None where it is no file and no link any more."""
    from stat import S_IMODE, S_ISLNK, S_ISREG

    try:
        found = os.lstat(path)
    except OSError:
        return None
    if not (S_ISREG(found.st_mode) or S_ISLNK(found.st_mode)):
        return None
    kind: Kind = "symlink" if S_ISLNK(found.st_mode) else "file"
    return Entry(path, kind, found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, S_IMODE(found.st_mode))


def is_folder(path: bytes) -> bool:
    """Tell whether ``path`` is a directory and no link to one."""
    return os.path.isdir(path) and not os.path.islink(path)


def is_gone(path: bytes) -> bool:
    """Tell whether nothing is at ``path`` any more: not even what a rule leaves out, nor behind a link on the way."""
    parts = path.split(b"/")
    parents = (b"/".join(parts[:depth]) for depth in range(1, len(parts)))
    return not os.path.lexists(path) or is_folder(path) or any(os.path.islink(parent) for parent in parents)


class inside:  # noqa: N801  read as a statement: with inside(root)
    """Be in ``root`` for the block: short paths are looked at in half the time of long ones.

    A process has one current directory: in another thread's, every file here would seem to be gone, and be deleted on
    the server. So one thread at a time is in such a block; the same one may enter it again.

    Raises:
        ProjectError: ``root`` cannot be entered.
    """

    _turn = _thread.RLock()

    def __init__(self, root: str) -> None:
        self._root = root

    def __enter__(self) -> None:
        self._turn.acquire()
        try:
            self._before = _enter(self._root)
        except BaseException:
            self._turn.release()
            raise

    def __exit__(self, *_: object) -> None:
        try:
            os.fchdir(self._before)
            os.close(self._before)
        finally:
            self._turn.release()


def _enter(root: str) -> int:
    """Make ``root`` the current directory; return a descriptor of the one before."""
    before = os.open(".", os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.chdir(root)
    except OSError as error:
        os.close(before)
        raise ProjectError(f"{root}: {error.strerror}", hint="cd into the project") from error
    return before
