"""Sync: which files belong to the project, and bringing them to the server.

``patterns`` translates ignore patterns (pure); ``git`` lets git decide, ``walk`` decides where there is no
git; ``ignore`` is the front of the three. ``scan`` looks at the files, ``plan`` says what to do (pure), and an
engine behind ``base.BaseSyncer`` does it: ``rsync.RsyncSyncer``. Loading this package loads none of them.
"""
