#!/bin/sh
# Prints and removes the reason that the gate of one run left when it refused, behind a line "mtr-no"; prints nothing if
# it did not.
#
#   set -- RUN

mtr_file=$HOME/.mtr-no.$1
[ -f "$mtr_file" ] || exit 0
# What an rc file has printed may lack the end of its line.
printf '\nmtr-no\n'
cat "$mtr_file"
rm -f "$mtr_file"
