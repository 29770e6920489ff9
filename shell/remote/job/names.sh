#!/bin/sh
# Prints what completion shows of the jobs here: "ID STATE ABOUT" for each, and an empty line at the end.
#
#   STATE  queued, running, or ended.STATUS.SECONDS.WHY; - where it lacks that
#   ABOUT  one line of JSON: see start.sh
#
# Assumptions:
# 1. Who presses TAB does not wait: no process is started, and whether a keeper lives is left to list.sh.

echo
cd -- "$HOME/.mtr/jobs" 2>/dev/null && for mtr_id in *; do
  case $mtr_id in *[!0-9a-f]*) continue ;; esac
  [ -f "$mtr_id/out" ] || continue
  mtr_at=- mtr_about=
  for mtr_f in "$mtr_id"/queued "$mtr_id"/running "$mtr_id"/ended.*; do
    if [ -f "$mtr_f" ]; then mtr_at=${mtr_f##*/}; fi
  done
  { read -r mtr_about <"$mtr_id/about"; } 2>/dev/null
  printf '%s %s %s\n' "$mtr_id" "$mtr_at" "$mtr_about"
done
echo
