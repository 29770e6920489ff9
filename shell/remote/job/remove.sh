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
# 2. One whose keeper has not signed within a minute never will: it was killed before.
# 3. What is under a name that begins with a dot was cut off while it was removed. Nothing is made for a day.

echo
# A server that has never had a job has nothing to remove.
[ -e "$HOME/.mtr/jobs" ] || [ $# -gt 0 ] || exit 0
cd -- "$HOME/.mtr/jobs" || exit 1

lives() {
  find_keeper "$1"
  # It has written that down, and goes: who has waited for the end may remove the job at once.
  case $mtr_at in ended.*) return 1 ;; esac
  [ -z "$mtr_keeper" ] || return 0
  [ "$mtr_at" = queued ] && [ ! -s "$1/queued" ] && [ -n "$(find "$1/queued" -mmin -1 2>/dev/null)" ]
}
for mtr_id; do
  case $mtr_id in *[!0-9a-f]* | '') continue ;; esac
  if lives "$mtr_id"; then
    echo "alive $mtr_id"
  elif [ ! -d "$mtr_id" ] || { mv -- "$mtr_id" ".gone.$mtr_id" && rm -rf -- ".gone.$mtr_id"; }; then
    echo "gone $mtr_id"
  fi
done
for mtr_f in .gone.*; do [ ! -d "$mtr_f" ] || rm -rf -- "$mtr_f"; done
for mtr_id in *; do
  case $mtr_id in *[!0-9a-f]*) continue ;; esac
  if [ ! -d "$mtr_id" ] || [ -f "$mtr_id/out" ]; then continue; fi
  find_keeper "$mtr_id"
  is_made "$mtr_id" || find "$mtr_id" -prune -mtime +0 -exec rm -rf -- {} +
done 2>/dev/null
exit 0
