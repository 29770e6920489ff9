#!/bin/sh
# shellcheck disable=SC2154  # life.sh sets what it says
# Joins a client to the terminal of a job: stdin is typed there, and what it prints comes from an offset on.
#
#   set -- ID OFFSET ROWS COLUMNS REDRAW
#
#   OFFSET  bytes to leave out; -N: begin N bytes before the present end
#   REDRAW  redraw where a program has the screen to itself; empty where that is not known, or not so
#
# Prints a line "mtr-from N END MODES" first, where N counts from the stream's beginning, END is the present end, and
# MODES are the terminal's private modes as they stand there ("1049h,25l"); then the bytes and nothing else, until the
# job has ended. Leaves with 3 where there is no such job, 4 where the offset lies beyond the end, 5 where it has no
# terminal, 6 where it waits in the queue; life.sh stands in front.
#
# Assumptions:
# 1. sshd closes stdin when the client goes, however it goes; then nothing of this stays.
# 2. A FIFO that is open for both never waits for somebody who reads; one that is open for writing alone tells when the
#    last of those has gone. Opened one after the other, it does both.
# 3. A program that has the screen to itself redraws when its window changes, and may look whether it has: it changes
#    by a line and back.

mtr_id=$1 mtr_offset=$2 mtr_rows=$3 mtr_columns=$4 mtr_redraw=$5
case $mtr_id in *[!0-9a-f]* | '') exit 3 ;; esac
cd -- "$HOME/.mtr/jobs/$mtr_id" 2>/dev/null && [ -f out ] || exit 3
[ -p in ] || exit 5
size() {
  wc -c <out | tr -d ' '
}
mtr_size=$(size)
mtr_modes=
case $mtr_offset in
  -*)
    mtr_offset=$((mtr_size + mtr_offset))
    [ "$mtr_offset" -ge 0 ] || mtr_offset=0
    # A program that has printed more than this since it set a mode has had time to set it again.
    mtr_modes=$(tail -c 33554432 out | LC_ALL=C grep -a -o "$(printf '\033')\\[?[0-9;]*[hl]" | tr -d '\033[?' | awk '
      {
        n = split(substr($0, 1, length($0) - 1), mode, ";")
        for (i = 1; i <= n; i++) state[mode[i]] = substr($0, length($0))
      }
      END { for (m in state) if (m != "") printf "%s%s,", m, state[m] }')
    ;;
esac
[ "$mtr_offset" -le "$mtr_size" ] || exit 4

find_keeper .
mtr_tick=0
while [ -n "$mtr_keeper" ] && [ ! -s tty ]; do
  mtr_tick=$((mtr_tick + 1))
  [ "$mtr_tick" -lt 50 ] || exit 6
  sleep 0.1 2>/dev/null || sleep 1
  find_keeper .
done
# What an rc file has printed may lack the end of its line.
printf '\nmtr-from %s %s %s\n' "$mtr_offset" "$mtr_size" "$mtr_modes"

if [ -n "$mtr_keeper" ]; then
  case ,$mtr_modes in *,47h,* | *,1047h,* | *,1049h,*) mtr_redraw=redraw ;; esac
  { read -r mtr_tty <./tty; } 2>/dev/null
  # stty is a process of its own: who leads a session without a terminal would take the one that it opens.
  if [ -n "$mtr_redraw" ]; then
    (
      exec >/dev/null 2>&1
      stty rows $((mtr_rows > 1 ? mtr_rows - 1 : 2)) cols "$mtr_columns" <"$mtr_tty"
      sleep 0.1 || sleep 1
      stty rows "$mtr_rows" cols "$mtr_columns" <"$mtr_tty"
    ) &
  else
    stty rows "$mtr_rows" cols "$mtr_columns" <"$mtr_tty" 2>/dev/null
  fi
  find_start $$
  # shellcheck disable=SC2094  # it is a FIFO
  exec 3<&0 4<>in 5>in 4>&-
  (
    # By exec alone: mksh keeps what another redirection replaces, and with it the client's end of the output.
    exec >/dev/null 2>&1
    # Where it types no more because the command has ended, it still waits for the client's end.
    cat <&3 >&5 || cat <&3 >/dev/null
    mtr_before=$mtr_start
    find_start $$
    [ "$mtr_start" != "$mtr_before" ] || kill $$
  ) &
  exec 3<&- 5>&- </dev/null
fi
if [ -n "$mtr_keeper" ] && tail --version 2>/dev/null | grep -q GNU; then
  exec tail -c "+$((mtr_offset + 1))" -f -s 0.1 --pid="$mtr_keeper" -- out
fi
while [ -n "$mtr_keeper" ]; do
  mtr_size=$(size)
  if [ "$mtr_size" -gt "$mtr_offset" ]; then
    tail -c "+$((mtr_offset + 1))" -- out | head -c $((mtr_size - mtr_offset))
    mtr_offset=$mtr_size
  else
    sleep 0.05 2>/dev/null || sleep 1
  fi
  find_keeper .
done
exec tail -c "+$((mtr_offset + 1))" -- out
