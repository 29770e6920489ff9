#!/bin/sh
# Makes the terminal that stdin is the one of this session, and becomes the program.
#
#   terminal.sh TERMINAL PROGRAM ARGUMENT…
#
# Assumptions:
# 1. This shell leads a session that has no terminal yet. On Linux opening one is what gives it the session (tty(4)).
# 2. Where that fails, the program runs all the same: its streams are a terminal, and only /dev/tty and Ctrl-C lack.

{ true <>"$1"; } 2>/dev/null || :
shift
exec "$@"
