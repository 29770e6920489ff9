#!/bin/sh
# Makes the directory that a sync writes to, with its parents, and checks that it can be written.
#
#   set -- DIR
#
# Prints nothing and exits 0, or prints the system's own words on stderr and exits 1 (cannot be made or
# entered), 2 (cannot be written), 3 (no rsync here).
case $1 in
  \~/*) mtr_dir=$HOME/${1#\~/} ;;
  *) mtr_dir=$1 ;;
esac
mkdir -p -- "$mtr_dir" && cd -- "$mtr_dir" || exit 1
mkdir -p .mtr && : >.mtr/.probe.$$ && rm -f .mtr/.probe.$$ || exit 2
command -v rsync >/dev/null || exit 3
