"""The receipt of a sync, as a value. Builtin modules only: a warm run that brings something shows one."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mtr.sync.base import Transfer


class SyncResult:
    """The receipt of a sync.

    ``files_total`` and ``bytes_total`` are the project, ``files_sent`` what was new or different, ``deleted`` what was
    removed on the server; ``bytes_sent`` is what crossed the line, or None where the engine could not tell;
    ``biggest`` holds the files that cost most of it, largest first.
    """

    __slots__ = (
        "biggest", "bytes_sent", "bytes_total", "deleted", "duration_s", "files_sent", "files_total", "warnings",
    )  # fmt: skip

    def __init__(
        self,
        files_total: int,
        bytes_total: int,
        *,
        files_sent: int = 0,
        bytes_sent: int | None = 0,
        deleted: int = 0,
        duration_s: float = 0.0,
        biggest: tuple[Transfer, ...] = (),
        warnings: tuple[str, ...] = (),
    ) -> None:
        self.files_total = files_total
        self.bytes_total = bytes_total
        self.files_sent = files_sent
        self.bytes_sent = bytes_sent
        self.deleted = deleted
        self.duration_s = duration_s
        self.biggest = biggest
        self.warnings = warnings

    def __repr__(self) -> str:
        return f"SyncResult({', '.join(f'{name}={getattr(self, name)!r}' for name in self.__slots__)})"
