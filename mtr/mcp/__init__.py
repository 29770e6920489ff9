"""``mtr mcp``: what an agent may ask, over the Model Context Protocol.

Thin: what is asked is done by ``mtr/agent``. Here are the names and the words that a model reads, the caps of what it
is answered, and the two ways to it, stdio and HTTP on loopback. ``answers`` and ``clients`` need no SDK; the rest is
imported once the server is to run.
"""
