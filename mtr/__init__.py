"""mtr: edit here, run there.

The package root stays empty of work: a warm run imports it, so it loads nothing. Scripts and notebooks use
``mtr.connect("gpu-01")``, which is loaded on first use.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from mtr.remote import connect

__all__ = ["__version__", "connect"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    if name == "connect":
        from mtr.remote import connect

        return connect
    raise AttributeError(f"module 'mtr' has no attribute {name!r}")


def __dir__() -> list[str]:
    # help(mtr), and TAB in a notebook, show what loads on first use, too.
    return sorted({*globals(), *__all__})
