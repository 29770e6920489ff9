#!/bin/sh
# shellcheck disable=SC2154  # life.sh sets what it says
# Says how jobs stand, in one answer and without a process for each; life.sh stands in front.
#
#   set -- [ID...]        all jobs where there is none
#
# Prints "now SECONDS BOOT", then for each job
#
#   job ID
#   at NAME               queued, running, or ended.STATUS.SECONDS.WHY; empty where it lacks that
#   keeper PID START BOOT SINCE RAN   as the keeper has written it; SINCE and RAN are seconds
#   alive                 where that very process lives
#   mark NAME             for stopping and overdue; fresh: it has just been made, and its keeper has not begun
#   trouble WORDS         why it cannot be known what it waits for
#   about JSON
#
# and at the end "sizes" and what ls -ln says of the outputs.
#
# Assumptions:
# 1. A directory that is half written, or from which something was removed, has some of these lines empty.

# What an rc file has printed may lack the end of its line.
echo
echo "now $(date +%s) $mtr_boot"
cd -- "$HOME/.mtr/jobs" 2>/dev/null || exit 0

show() {
  find_keeper "$1"
  is_made "$1" || return 1
  echo "job $1"
  printf 'at %s\nkeeper %s\n' "$mtr_at" "$mtr_said"
  if [ -n "$mtr_keeper" ]; then echo alive; fi
  for mtr_f in stopping overdue; do
    if [ -f "$1/$mtr_f" ]; then echo "mark $mtr_f"; fi
  done
  # Its keeper may be about to write that.
  if [ "$mtr_at$mtr_pid" = queued ] && [ -n "$(find "$1" -prune -mmin -1)" ]; then echo 'mark fresh'; fi
  { read -r mtr_about <"$1/trouble" && printf 'trouble %s\n' "$mtr_about"; } 2>/dev/null
  mtr_about=
  { read -r mtr_about <"$1/about"; } 2>/dev/null
  printf 'about %s\n' "$mtr_about"
}

[ $# -gt 0 ] || set -- *
mtr_files=
for mtr_id; do
  case $mtr_id in *[!0-9a-f]* | '') continue ;; esac
  [ -d "$mtr_id" ] || continue
  show "$mtr_id" || continue
  mtr_files="$mtr_files $mtr_id/out $mtr_id/err"
done
echo sizes
# shellcheck disable=SC2086  # ids are hexadecimal digits
[ -z "$mtr_files" ] || LC_ALL=C ls -ln $mtr_files 2>/dev/null
exit 0
