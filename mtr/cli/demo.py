"""``mtr demo``: see it all work against a throwaway SSH server on this machine."""

from __future__ import annotations

import os

import click


@click.command()
@click.option(
    "--server",
    "kind",
    type=click.Choice(["auto", "sshd", "embedded"]),
    default="auto",
    help="The system's sshd, or one in Python; auto takes the first that works.",
)
def demo(kind: str) -> int:
    """See it all work against a throwaway SSH server on this machine.

    Starts a server on 127.0.0.1, runs a small project on it, and removes everything again. Your own ssh keys,
    known hosts and configuration are neither read nor written.
    """
    from mtr.demo.show import run_demo

    return run_demo(kind, os.environ)
