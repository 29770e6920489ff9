"""``make bench``: mtr side by side with what people do without it, in one run, over a real sshd.

    __main__.py     options, progress, exit status
    ground.py       the sshd, the lines with their round trips, the masters, the home; made and removed
    install.py      mtr, and the peers, installed as a user has them
    trees.py        projects of many small files
    contestants.py  what is measured against each other: bare ssh, the hand-typed pair, mtr
    peers.py        the two packages that do the same job
    cases.py        which contestants meet on which tree over which line
    measure.py      round robin, samples, medians
    meter.py        a small process of its own that starts a contestant, and measures its time and memory
    goals.py        what is asked of mtr, and whether it holds
    report.py       the table and the JSON
    chart.py        the picture
    jobs.py, streams.py   figures of their own: of jobs, and of commands that are watched while they run

mtr is a black box here: a command line, started as a user starts it.
"""
