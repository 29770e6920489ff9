#!/bin/sh
# shellcheck disable=SC2154  # life.sh sets what it says
# Prints one output of a job from an offset on, as it is; with FOLLOW until its writer has gone, however that went.
#
#   set -- ID STREAM OFFSET FOLLOW
#
#   STREAM  out or err
#   OFFSET  bytes to leave out; -N: begin N bytes before the present end
#   FOLLOW  follow, or empty
#
# Prints a line "mtr-from N" first, where N counts from the stream's beginning, and from there on the job's bytes and
# nothing else. Leaves with 3 where there is no such job, 4 where the offset lies beyond the end; life.sh stands in front.
#
# Assumptions:
# 1. What the keeper's command has written is in the file when the keeper has ended; GNU tail looks once more after that.
# 2. Where tail(1) cannot watch a process, the file is looked at ten times a second.

mtr_id=$1 mtr_stream=$2 mtr_offset=$3 mtr_follow=$4
case $mtr_id$mtr_stream in *[!0-9a-z]* | '') exit 3 ;; esac
cd -- "$HOME/.mtr/jobs/$mtr_id" 2>/dev/null && [ -f "$mtr_stream" ] || exit 3

size() {
  wc -c <"$mtr_stream" | tr -d ' '
}
mtr_size=$(size)
case $mtr_offset in
  -*)
    mtr_offset=$((mtr_size + mtr_offset))
    [ "$mtr_offset" -ge 0 ] || mtr_offset=0
    ;;
esac
[ "$mtr_offset" -le "$mtr_size" ] || exit 4
# What an rc file has printed may lack the end of its line.
printf '\nmtr-from %s\n' "$mtr_offset"

if [ -n "$mtr_follow" ]; then
  find_keeper .
  if [ -n "$mtr_keeper" ] && tail --version 2>/dev/null | grep -q GNU; then
    exec tail -c "+$((mtr_offset + 1))" -f -s 0.1 --pid="$mtr_keeper" -- "$mtr_stream"
  fi
  while [ -n "$mtr_keeper" ]; do
    mtr_size=$(size)
    if [ "$mtr_size" -gt "$mtr_offset" ]; then
      tail -c "+$((mtr_offset + 1))" -- "$mtr_stream" | head -c $((mtr_size - mtr_offset))
      mtr_offset=$mtr_size
    else
      sleep 0.1 2>/dev/null || sleep 1
    fi
    find_keeper .
  done
fi
exec tail -c "+$((mtr_offset + 1))" -- "$mtr_stream"
