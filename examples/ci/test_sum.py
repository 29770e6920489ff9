"""What the job runs: tests that want the server."""

import platform


def test_sum():
    assert 40 + 2 == 42


if __name__ == "__main__":
    test_sum()
    print("passed on", platform.node())
