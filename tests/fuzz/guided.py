"""A fuzzer that is guided by what the bytes reach in mtr: libFuzzer, through atheris.

    pip install -e '.[dev,fuzz]'                          # once; atheris has wheels for Linux
    python -m tests.fuzz.guided config                    # one target, for 60 seconds
    python -m tests.fuzz.guided config --seconds 3600     # longer
    python -m tests.fuzz.guided all --seconds 120         # each target in turn, for so long
    python -m tests.fuzz.guided config --replay FILE      # once, on what a crash has left

What has been found worth keeping lies in ``--corpus DIR`` (default: ``mtr-fuzz-corpus`` in the directory for temporary
files), one directory for each target; it is made from the seeds of ``targets`` and belongs to nobody's repository. What
makes mtr fall over, wait longer than ten seconds or take more than a gigabyte is kept there as ``crash-…``,
``timeout-…`` or ``oom-…``, and the status is not 0. The last line of each target says how many were tried.

A crash is mended together with its bytes as an example in ``test_found.py``.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path

NAMES = (
    "config", "command-line", "project", "manifest", "manifest-values", "route", "record", "listing", "remote-words",
    "mux", "sftp", "patterns", "rsync", "ssh-log", "known-hosts", "ssh-config",
)  # fmt: skip
"""As in ``targets``, which is imported only where atheris watches the import."""


def main() -> int:
    """Fuzz what the command line asks for; return 1 where something was found."""
    asked = _parse()
    if importlib.util.find_spec("atheris") is None:
        sys.stderr.write("atheris is not installed: pip install -e '.[dev,fuzz]'\n")
        return 2
    if asked.worker:
        _work(asked)
    names = NAMES if asked.target == "all" else (asked.target,)
    failed = [name for name in names if _run_worker(name, asked)]
    print(f"failed: {', '.join(failed)}" if failed else f"nothing found in {', '.join(names)}")  # noqa: T201
    return 1 if failed else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.guided", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("target", choices=(*NAMES, "all"))
    parser.add_argument("--seconds", type=int, default=60, help="how long for each target")
    parser.add_argument("--corpus", type=Path, default=Path(tempfile.gettempdir(), "mtr-fuzz-corpus"))
    parser.add_argument("--replay", type=Path, help="a file to run the target on, once")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def _run_worker(name: str, asked: argparse.Namespace) -> bool:
    """Fuzz one target in a process of its own, which libFuzzer ends; tell whether something was found."""
    sys.stderr.write(f"== {name}\n")
    argv = [sys.executable, "-m", "tests.fuzz.guided", name, "--worker", "--seconds", str(asked.seconds)]
    argv += ["--corpus", str(asked.corpus)]
    argv += ["--replay", str(asked.replay)] if asked.replay else []
    return subprocess.run(argv, check=False, cwd=Path(__file__).parents[2]).returncode != 0


def _work(asked: argparse.Namespace) -> None:
    """Become libFuzzer."""
    import atheris

    with atheris.instrument_imports(include=["mtr", "yaml", "jsonschema"]):
        from tests.fuzz.targets import TARGETS, list_seeds

    folder = asked.corpus / asked.target
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(list_seeds(asked.target)):
        (folder / f"seed-{number}").write_bytes(seed)
    limits = ["-timeout=10", "-rss_limit_mb=1024", "-max_len=4096", "-print_final_stats=1", "-verbosity=0"]
    bounds = [str(asked.replay)] if asked.replay else [f"-max_total_time={asked.seconds}", str(folder)]
    atheris.Setup([sys.argv[0], *limits, f"-artifact_prefix={asked.corpus}/", *bounds], TARGETS[asked.target])
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
