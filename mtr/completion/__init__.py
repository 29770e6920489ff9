"""The user's own shell: what ``mtr shell-init`` prints, and the answers to TAB.

``start`` builds the text that a shell evaluates, ``line`` tells where on a command line the cursor stands,
``candidates`` what could stand there, ``server`` asks a server whose connection is open. Nothing of a project's
configuration is run for any of it, no connection is opened, and nobody is asked anything. Builtin modules alone:
every start of a shell and every TAB waits for them.
"""
