#!/bin/sh
# Gives the terminal of a job the sizes that come on stdin, lines "ROWS COLUMNS", until there are no more.
#
#   set -- ID

case $1 in *[!0-9a-f]* | '') exit 3 ;; esac
cd -- "$HOME/.mtr/jobs/$1" 2>/dev/null && { read -r mtr_tty <./tty; } 2>/dev/null || exit 3
while read -r mtr_rows mtr_columns; do
  # stty is a process of its own: see attach.sh.
  stty rows "$mtr_rows" cols "$mtr_columns" <"$mtr_tty"
done 2>/dev/null
exit 0
