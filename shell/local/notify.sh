#!/bin/sh
# Shows a note on the desktop of this machine.
#
#   notify.sh TITLE TEXT        shows it
#   notify.sh                   tells by its status whether it could
#
# Assumptions:
# 1. Both texts are plain: notify-send reads markup in the second one.

if command -v notify-send >/dev/null; then
  [ $# -gt 0 ] || exit 0
  exec notify-send -a mtr -- "$1" "$2"
elif command -v osascript >/dev/null; then
  [ $# -gt 0 ] || exit 0
  # The texts are arguments, and no part of the script.
  exec osascript -e 'on run words' -e 'display notification (item 2 of words) with title (item 1 of words)' \
    -e 'end run' "$1" "$2"
fi
exit 127
