"""The connection of a machine without OpenSSH: paramiko behind the interface of :class:`mtr.ssh.line.Line`.

There is no master: each process logs in by itself, once, and all its sessions go over that login.
"""
