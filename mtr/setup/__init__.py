"""Setting up a project: what a user answers, tried on the server, becomes ``.mtr/`` in one step or not at all.

``answers`` are what is asked for, ``files`` what they look like as YAML, ``site`` where that goes and how, ``trial``
is the login and the directory there, ``draft`` ties them together. Nothing here asks or prints.
"""
