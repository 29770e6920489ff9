"""A relay in a process of its own: ``python -m tests.benchmarks.delay TARGET_PORT DELAY_S`` prints its port.

Apart from the benchmark, so that whatever that does between two runs never delays a chunk. Ends with its stdin.
"""

from __future__ import annotations

import sys

from tests.lab.relay import Relay


def main() -> None:
    """Relay until stdin ends."""
    relay = Relay(int(sys.argv[1]), delay_s=float(sys.argv[2]))
    sys.stdout.write(f"{relay.port}\n")
    sys.stdout.flush()
    sys.stdin.read()
    relay.close()


if __name__ == "__main__":
    main()
