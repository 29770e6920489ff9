"""Many runs in a row, with kills and bad lines in between: ``python -m tests.soak --runs 1000``.

Holds when every run that nobody disturbed ended with its own status and output, a disturbed one with its own or with
an error of mtr's, no command ran twice, and at the end there is no process, socket, file or descriptor more than at
the beginning, and no process has grown.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import time

from tests.lab.home import Home
from tests.lab.processes import end_tree
from tests.lab.relay import Relay
from tests.lab.sshd import SshServer
from tests.soak.census import take_census
from tests.soak.rounds import Soak

CENSUS_EVERY = 50


def main() -> int:
    """Soak, print what happened as a table of counts, and return 0 when all of it held."""
    options = _parse()
    started_s = time.monotonic()
    with SshServer(lines=("MaxSessions 10",)) as server:
        home, relay = Home(server), Relay(server.port)
        try:
            soak = Soak(home, relay, random.Random(options.seed))
            faults = _run(soak, options.runs)
        finally:
            for pid in home.masters():
                end_tree(pid)
            relay.close()
            home.close()
    took_s = time.monotonic() - started_s
    _say(f"\n{options.runs} runs in {took_s:.0f} s, seed {options.seed}")
    for (disturbed, ended), count in sorted(soak.ends.items()):
        _say(f"  {count:5}  {disturbed:28} {ended}")
    _say("\n".join(f"FAILED: {fault}" for fault in faults) or "all of it held")
    return 1 if faults else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    return parser.parse_args()


def _run(soak: Soak, runs: int) -> list[str]:
    """Do the rounds with a census now and then; return what did not hold."""
    faults: list[str] = []
    soak.settle()
    first = take_census(soak.home, soak.project)
    for number in range(1, runs + 1):
        try:
            soak.run_round(number)
            if number % CENSUS_EVERY == 0 or number == runs:
                soak.settle()
                found = take_census(soak.home, soak.project)
                _say(f"{number:5}: {json.dumps(found.to_json())}")
                faults += found.find_growth(first)
        except AssertionError as error:
            faults.append(f"run {number}: {error}")
        if faults:
            break
    return faults


if __name__ == "__main__":
    os.environ.pop("MTR_SERVER", None)
    sys.exit(main())
