#!/bin/sh
# The terminal of a job where there is no python3: script(1) of util-linux, which types what comes from its stdin.
#
#   /bin/sh terminal ARGV...            MTR_SIZE is "ROWS COLUMNS"; stdout is the job's out
#
# Does what terminal.py does, with one thing less: up to 2.39, script waits for the command to take what is typed and
# meanwhile takes nothing of what it prints. A paste of some 100 kB to a command that does not read can stop it.
#
# Assumptions:
# 1. script runs its -c with $SHELL, which has to be a POSIX shell for that, and the user's own again for the command.
# 2. Where its stdin is no terminal, script turns the echo off and leaves the size at 0: stty mends both.

mtr_job=${0%/*}
if [ "${MTR_TERMINAL-}" = inside ]; then
  tty >"$mtr_job/tty"
  stty sane
  stty iutf8 2>/dev/null
  # shellcheck disable=SC2086  # two numbers
  set -- $MTR_SIZE "$@"
  stty rows "$1" cols "$2"
  shift 2
  if [ -n "$MTR_SHELL" ]; then export SHELL="$MTR_SHELL"; else unset SHELL; fi
  unset MTR_TERMINAL MTR_SIZE MTR_SHELL
  # A shell's & makes what it starts ignore INT, and no shell can undo that.
  if env --default-signal=INT,QUIT true 2>/dev/null; then exec env --default-signal=INT,QUIT "$@"; fi
  exec "$@"
fi
mtr_words=
for mtr_w in /bin/sh "$0" "$@"; do
  mtr_q=
  while :; do
    case $mtr_w in
      *\'*) mtr_q=$mtr_q${mtr_w%%\'*}"'\\''" mtr_w=${mtr_w#*\'} ;;
      *) break ;;
    esac
  done
  mtr_words="$mtr_words '$mtr_q$mtr_w'"
done
export MTR_TERMINAL=inside MTR_SHELL="${SHELL-}" SHELL=/bin/sh
exec script -qfe -c "exec$mtr_words" /dev/null <>"$mtr_job/in"
