#!/bin/sh
# shellcheck disable=SC2154  # life.sh sets what it says
# Hands stdin to a job as its input: to its terminal, or to the stdin of one that was started with "input". life.sh stands
# in front.
#
#   set -- ID END
#
#   END  end: there will be no more; empty otherwise
#
# Leaves with 3 where there is no such job, 5 where it takes no input, 6 where it has ended, or takes no more, 7 where it
# reads nothing and its FIFO is full, so that some of it may not have come.
#
# Assumptions:
# 1. A FIFO that is opened for both waits for nobody; what is in it stays as long as the keeper's writer is there.
# 2. A terminal takes the character EOT at the beginning of a line for the end.

mtr_id=$1 mtr_last=$2
case $mtr_id in *[!0-9a-f]* | '') exit 3 ;; esac
cd -- "$HOME/.mtr/jobs/$mtr_id" 2>/dev/null && [ -f out ] || exit 3
[ -p in ] || exit 5

nap() { sleep "$1" 2>/dev/null || sleep 1; }
# Its command may be about to begin, or wait in the queue: that may take longer than anybody waits here.
mtr_tick=0
while find_keeper . && [ "$mtr_at" = queued ] && [ "$mtr_tick" -lt 100 ]; do
  mtr_tick=$((mtr_tick + 1))
  nap 0.05
done
[ -n "$mtr_keeper" ] && [ "$mtr_at" = running ] && [ ! -f in.ended ] || exit 6

exec 3<&0 4<>in
cat <&3 >&4 &
mtr_cat=$! mtr_tick=0
while kill -0 "$mtr_cat" 2>/dev/null; do
  mtr_tick=$((mtr_tick + 1))
  if [ "$mtr_tick" -gt 200 ]; then
    kill "$mtr_cat"
    exit 7
  fi
  nap 0.02
done
[ -n "$mtr_last" ] || exit 0
if [ ! -p hold ]; then
  printf '\004' >&4
  exit 0
fi
exec 4>&-
mtr_tick=0
until [ -f in.ended ] || [ "$mtr_tick" -gt 100 ]; do
  mtr_tick=$((mtr_tick + 1))
  # shellcheck disable=SC2188  # opened, and closed again
  3<>hold
  nap 0.05
done
