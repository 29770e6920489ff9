"""What mtr needs, tried for real: on this machine and on servers, each fault with its remedy.

Checks return frozen values; the command line renders them. Nothing is changed, here or there: what a check makes to try
something (a socket, a directory) it removes. A connection is opened as a run opens one, and stays open as after a run:
that stores the host key of a new server, as ``mtr up`` does.

``examine`` puts it together: the checks of this machine in this process, those of each server in a process of its own.

Loading this package loads none of its modules.
"""
