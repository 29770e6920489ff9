#!/bin/sh
# shellcheck disable=SC2154  # life.sh sets what it says
# Removes jobs that have ended, with all that they have printed; life.sh stands in front.
#
#   set -- ID...
#
# Prints "gone ID" or "alive ID" for each.
#
# Assumptions:
# 1. A job is renamed before it is removed, so that it is there with all of it, or not there.

echo
cd -- "$HOME/.mtr/jobs" || exit 1
for mtr_id; do
  case $mtr_id in *[!0-9a-f]* | '') continue ;; esac
  find_keeper "$mtr_id"
  if [ -n "$mtr_keeper" ]; then
    echo "alive $mtr_id"
  elif [ ! -d "$mtr_id" ] || { mv -- "$mtr_id" ".gone.$mtr_id" && rm -rf -- ".gone.$mtr_id"; }; then
    echo "gone $mtr_id"
  fi
done
# What was cut off while it was made or removed.
for mtr_f in .gone.*; do [ ! -d "$mtr_f" ] || rm -rf -- "$mtr_f"; done
exit 0
