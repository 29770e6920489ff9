"""The connection of a machine without OpenSSH: paramiko behind the interface of :class:`mtr.ssh.base.BaseConnection`.

``master`` is a process in the background that holds one login and speaks the protocol of OpenSSH's masters, so what
stands on it does not notice; ``sessions`` finds and opens it. Where no process can hand another its descriptors, as on
Windows, ``connection`` logs in for each process. ``resolve`` reads ssh_config, ``login`` logs in.
"""
