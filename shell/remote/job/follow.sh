#!/bin/sh
# shellcheck disable=SC2154  # life.sh sets what it says
# Prints one output of a job from an offset on, as it is; with FOLLOW until its writer has gone, however that went.
#
#   set -- ID STREAM OFFSET FOLLOW
#
#   STREAM  out or err
#   OFFSET  bytes to leave out; -N: begin N bytes before the present end; linesN: with the last N lines of what is there
#   FOLLOW  follow, or empty
#
# Prints a line "mtr-from N" first, where N counts from the stream's beginning, and from there on the job's bytes and
# nothing else. Leaves with 3 where there is no such job, 4 where the offset lies beyond the end; life.sh stands in front.
#
# Assumptions:
# 1. What the keeper's command has written is in the file when the keeper has ended; the file is read once more after that.
# 2. dd skips in a file by setting the descriptor's offset, also where it is to copy nothing; cat goes on from there with
#    reads that are large. /proc says where cat has come to; elsewhere all is read by tail(1).
# 3. Where tail cannot watch a process, the file is looked at ten times a second.

mtr_id=$1 mtr_stream=$2 mtr_offset=$3 mtr_follow=$4
case $mtr_id$mtr_stream in *[!0-9a-z]* | '') exit 3 ;; esac
cd -- "$HOME/.mtr/jobs/$mtr_id" 2>/dev/null && [ -f "$mtr_stream" ] || exit 3

size() {
  wc -c <"$mtr_stream" | tr -d ' '
}
# count_tail LINES: says how many bytes the last LINES of the first $mtr_size take. Looks at the end only, and further
# back while that has too few: an output may be long, and may grow meanwhile.
count_tail() {
  mtr_window=65536
  while :; do
    [ "$mtr_window" -lt "$mtr_size" ] || mtr_window=$mtr_size
    mtr_count=$(tail -c "+$((mtr_size - mtr_window + 1))" -- "$mtr_stream" | head -c "$mtr_window" | tail -n "$1" | wc -c)
    if [ "$mtr_count" -lt "$mtr_window" ] || [ "$mtr_window" -eq "$mtr_size" ]; then break; fi
    mtr_window=$((mtr_window * 8))
  done
  echo $((mtr_count))
}
mtr_size=$(size)
case $mtr_offset in
  lines*) mtr_offset=$((mtr_size - $(count_tail "${mtr_offset#lines}"))) ;;
  -*)
    mtr_offset=$((mtr_size + mtr_offset))
    [ "$mtr_offset" -ge 0 ] || mtr_offset=0
    ;;
esac
[ "$mtr_offset" -le "$mtr_size" ] || exit 4
# What an rc file has printed may lack the end of its line.
printf '\nmtr-from %s\n' "$mtr_offset"

exec 3<"$mtr_stream" || exit 3
[ "$mtr_offset" -eq 0 ] || dd bs=1 skip="$mtr_offset" count=0 <&3 >/dev/null 2>&1 || exit 1
find_keeper .
if [ -z "$mtr_follow" ] && [ -n "$mtr_keeper" ]; then
  # A job that prints faster than the line takes would be followed to its end.
  exec head -c $((mtr_size - mtr_offset)) <&3
fi
cat <&3 || exit 1
while [ -n "$mtr_keeper" ]; do
  if tail --version 2>/dev/null | grep -q GNU && { read -r mtr_size mtr_offset <"/proc/$$/fdinfo/3"; } 2>/dev/null; then
    # Its first line is the word pos: and how much has been read.
    # It learns at once of what is written, and looks once more when the keeper has gone.
    exec tail -c "+$((mtr_offset + 1))" -f -s 0.1 --pid="$mtr_keeper" -- "$mtr_stream"
  fi
  sleep 0.1 2>/dev/null || sleep 1
  find_keeper .
  cat <&3 || exit 1
done
