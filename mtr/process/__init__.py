"""Starting programs: the only package of mtr that does.

``spawn`` starts a program on inherited stdio (what the user sees is the program itself); ``captured`` drives
the programs whose output mtr reads. Loading this package loads neither.
"""
