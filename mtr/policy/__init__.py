"""What an agent may do: commands and limits (``judge``), files here and on a server (``paths``)."""

from mtr.policy.judge import (
    ALLOWED,
    CONFIRM,
    LOCAL,
    REFUSED,
    Policy,
    PolicyRefused,
    Verdict,
    build_policy,
    find_audit_log,
)
from mtr.policy.paths import LocalFile, find_bases, list_secret_files, open_beneath, resolve_local, resolve_remote

__all__ = [
    "ALLOWED",
    "CONFIRM",
    "LOCAL",
    "REFUSED",
    "LocalFile",
    "Policy",
    "PolicyRefused",
    "Verdict",
    "build_policy",
    "find_audit_log",
    "find_bases",
    "list_secret_files",
    "open_beneath",
    "resolve_local",
    "resolve_remote",
]
