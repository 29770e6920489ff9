#!/bin/sh
# Runs a program on a pseudo-terminal, for the demo's embedded server.
#
#   terminal.sh TTY ARGV...
#
# Assumption: this is the leader of a new session without a terminal, so that the first one it opens becomes its
# controlling terminal (POSIX leaves that to the system; Linux and macOS do so). Ctrl-C there then reaches ARGV.
tty=$1
shift
exec <>"$tty" >&0 2>&1 && exec "$@"
