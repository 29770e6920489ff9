"""``mtr ssh-config``: let scp, git, rsync and editors share mtr's connections."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import click

from mtr.cli.options import take
from mtr.errors import UsageError

if TYPE_CHECKING:
    from mtr.command_line import Invocation
    from mtr.config.project import Project
    from mtr.voice import Voice


@click.command()
@take("directory")
@click.option("--write", is_flag=True, help="Write it to ~/.config/mtr/ssh_config, and say which line includes that.")
@click.option("--install", is_flag=True, help="The same, and put that line at the top of ~/.ssh/config; keeps a copy.")
@click.option("--uninstall", is_flag=True, help="Take the line out again, and remove the file.")
@click.pass_obj
def ssh_config(invocation: Invocation, *, write: bool, install: bool, uninstall: bool) -> int:
    """Let scp, git, rsync and editors use your servers by name, over mtr's connections.

    Prints what ssh has to know: the servers of your own configuration and of the project you stand in, each as a Host.
    Whoever comes first opens the connection, mtr or ssh, and the other joins it. mtr keeps the file up to date
    as your configuration changes, so include it and do not copy from it.

    \b
      mtr ssh-config --install     once in each project
      scp out.png gpu-01:          over the connection that mtr has open
      git clone gpu-01:repo.git
      code --remote ssh-remote+gpu-01 /data
    """  # noqa: D301  click wants the character itself
    from mtr.config.project import find_project
    from mtr.voice import Voice

    if write + install + uninstall > 1:
        raise UsageError("--write, --install and --uninstall exclude each other", hint="mtr ssh-config --help")
    project = find_project(invocation.directory, os.environ)
    if uninstall:
        return _uninstall(Voice())
    if write or install:
        return _write(project, Voice(), install=install)
    from mtr.ssh.included import plan_file

    text, _ = plan_file(project, os.environ)
    sys.stdout.write(text)
    return 0


def _write(project: Project, voice: Voice, *, install: bool) -> int:
    from mtr.config.openssh import own_file, user_file
    from mtr.ssh import included
    from mtr.ssh.sharing import render_absence

    shared = included.write_file(project, os.environ)
    for found in shared:
        voice.say(f"ssh {found.name}: {found.address}" if found.text else render_absence(found))
    voice.say(f"wrote {own_file(os.environ)}" + ("" if shared else ", which has no server yet"))
    config = user_file(os.environ)
    if elsewhere := included.find_elsewhere(os.environ):
        voice.say(f"{elsewhere} includes it: take that out, since mtr reads its own words there; {config} is the place")
    if included.is_included(os.environ):
        voice.say(f"{config} includes it")
    elif install:
        copy = included.install(os.environ)
        voice.say(f"{config} includes it now" + (f"; as it was before: {copy}" if copy else ""))
    else:
        voice.say(f"put this at the top of {config}, or let mtr ssh-config --install do it:")
        voice.say(f"  {included.render_include(os.environ)}")
    return 0


def _uninstall(voice: Voice) -> int:
    from mtr.config.openssh import own_file, user_file
    from mtr.ssh.included import uninstall

    copy = uninstall(os.environ)
    if copy:
        voice.say(f"{user_file(os.environ)} includes it no more; as it was before: {copy}")
    voice.say(f"{own_file(os.environ)} is gone")
    return 0
