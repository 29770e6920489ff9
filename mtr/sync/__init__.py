"""Sync: which files belong to the project, and bringing them to the server.

``ignore`` decides what belongs to it (``git`` lets git decide, ``walk`` and ``patterns`` where there is none, ``why``
says why). ``manifest`` compares it with what was last brought, ``survey`` lists it anew; ``plan`` says what to do,
``delivery`` makes a push of it and brings it (``archive``, ``rsync_push``), ``compare`` where nothing is known of the
server, ``seed`` for a new worktree. ``rsync_push`` and ``sftp_push`` bring a push while a session holds the lock
(``locked``). ``base`` with ``rsync`` and ``sftp`` are the engines that stand alone, ``download`` is the way back.
Loading this package loads none of them.
"""
