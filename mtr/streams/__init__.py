"""The streams of commands that somebody watches while they run: agents, through the tools of the MCP server.

    piece.py      a stretch of a stream: its bytes, and where in the stream they stand
    text.py       bytes cut to text, never within a character
    buffer.py     the newest bytes of a stream, written by one thread and read by many
    executors.py  a command on pipes or on a terminal, its output into buffers, its processes ended
    pump.py       the thread that moves the bytes
    threaded.py   the same where the system cannot wait for several streams (Windows)
    command.py    what is known of one command: how it stands, and a look at it
    service.py    the commands of one server process, by token

Offsets count bytes from the beginning of a stream and never move back, whatever has been dropped since.
"""
