"""Configuration: which project this is, what its files say, and which server a run goes to.

``project`` finds the root; ``load`` reads, validates and merges the files into a ``model.Config``; ``select``
chooses a server from it. ``model``, ``project``, ``select`` and ``remote_dir`` need builtin modules alone; YAML and
JSON Schema are imported only while a file is read. Loading this package loads none of them.
"""
