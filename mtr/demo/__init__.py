"""``mtr demo``: the whole thing against a throwaway SSH server on this machine.

``show`` tells the story and runs the real ``mtr``; ``stage`` is the throwaway place that it runs in; ``server``
starts the system's sshd or ``embedded``, a server in Python, under a keeper that outlives a killed demo;
``programs`` knows what this machine must have. Loading this package loads none of them.
"""
