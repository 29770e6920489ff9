#!/bin/sh
# shellcheck disable=SC2154  # life.sh sets what it says
# Prints what both outputs of a job have behind given offsets, at most so much of each, and then falls into list.sh, which
# says how the job stands. Stands between life.sh and list.sh.
#
#   set -- ID OUT ERR LIMIT WAIT UNTIL
#
#   OUT, ERR  the offsets
#   LIMIT     how many bytes of each at most
#   WAIT      seconds to wait (or up to one more) for anything behind the offsets, or for the job's end
#   UNTIL     end: for its end alone; empty otherwise
#
# Prints for out and err a line "mtr-NAME SIZE COUNT", where SIZE is how much there is of it in all, and COUNT bytes behind
# that. Leaves with 3 where there is no such job.
#
# Assumptions:
# 1. How it stands is asked last, and its sizes once more behind that: who reads that it has ended sees whether there is
#    more than what came.

mtr_id=$1 mtr_out=$2 mtr_err=$3 mtr_limit=$4 mtr_wait=$5 mtr_until=$6
case $mtr_id in *[!0-9a-f]* | '') exit 3 ;; esac
cd -- "$HOME/.mtr/jobs/$mtr_id" 2>/dev/null && [ -f out ] && [ -f err ] || exit 3

has_news() {
  mtr_out_size=$(($(wc -c <out))) mtr_err_size=$(($(wc -c <err)))
  [ "$mtr_out_size" -gt "$mtr_out" ] || [ "$mtr_err_size" -gt "$mtr_err" ]
}
mtr_end=0
[ "$mtr_wait" -eq 0 ] || mtr_end=$(($(date +%s) + mtr_wait))
mtr_pause=0.05
until { [ -z "$mtr_until" ] && has_news; } || [ "$mtr_end" -eq 0 ]; do
  find_keeper .
  # Without a keeper it has ended, or has not begun: that takes no second.
  [ -n "$mtr_keeper" ] || [ "$mtr_at" = queued ] || break
  [ "$(date +%s)" -le "$mtr_end" ] || break
  sleep "$mtr_pause" 2>/dev/null || sleep 1
  mtr_pause=0.2
done
# What came between the last look and the end.
has_news

# NAME OFFSET SIZE
piece() {
  mtr_count=$(($3 > $2 ? $3 - $2 : 0))
  [ "$mtr_count" -le "$mtr_limit" ] || mtr_count=$mtr_limit
  printf '\nmtr-%s %s %s\n' "$1" "$3" "$mtr_count"
  [ "$mtr_count" -eq 0 ] || tail -c "+$(($2 + 1))" "$1" | head -c "$mtr_count"
}
piece out "$mtr_out" "$mtr_out_size"
piece err "$mtr_err" "$mtr_err_size"
set -- "$mtr_id"
