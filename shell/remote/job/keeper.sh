#!/bin/sh
# shellcheck disable=SC2154  # life.sh sets what it says
# The keeper of a job: its first process, which starts the command, waits for it, and writes down how it ended.
#
#   keeper OPTIONS ARGV...      in the command's directory, with its environment; MTR_JOB is the job's id
#
#   OPTIONS  words: timeout=SECONDS after which the command is ended; after=ID,ID... and gpus=N, for what it waits first:
#            see queue.sh, which then stands in front as well; pty: behind a terminal, see terminal.sh; input: what
#            type.sh writes to the FIFO "in" is the command's stdin, which is empty otherwise
#
# See start.sh for what is on disk; life.sh stands in front.
#
# Assumptions:
# 1. It leads a session and a process group of its own, without a terminal: no hangup reaches it.
# 2. A foreground subshell leaves the command's signals as they are; & would make it ignore INT and QUIT.
# 3. start.sh waits until descriptor 3 is closed: the keeper has signed, or is no more.
# 4. What the shell itself remarks (Killed, Terminated) is nobody's output: stderr is /dev/null.

mtr_job=${0%/*} mtr_options=$1
shift
mtr_timeout='' mtr_after='' mtr_gpus='' mtr_input='' mtr_why=exit mtr_stands=queued
for mtr_word in $mtr_options; do
  case $mtr_word in
    timeout=*) mtr_timeout=${mtr_word#*=} ;;
    after=*) mtr_after=${mtr_word#*=} ;;
    gpus=*) mtr_gpus=${mtr_word#*=} ;;
    input) mtr_input=$mtr_job/in ;;
    pty)
      # shellcheck disable=SC2086  # words of ours
      set -- $MTR_TERMINAL "$mtr_job/terminal" "$@"
      ;;
  esac
done

# The one file that says how the job stands gets another name: see start.sh.
turn() {
  mv -- "$mtr_job/$mtr_stands" "$mtr_job/$1" && mtr_stands=$1
}
finish() {
  [ ! -f "$mtr_job/stopping" ] || mtr_why=stopped
  if [ -f "$mtr_job/overdue" ]; then
    mtr_why=timeout
    # As timeout(1) has it.
    set -- 124
  fi
  turn "ended.$1.$(date +%s).$mtr_why"
  [ -z "$mtr_gpus" ] || drop_claims
  exit "$1"
}

find_start $$
printf '%s %s %s' "$$" "$mtr_start" "$mtr_boot" >"$mtr_job/queued" || {
  mtr_why=failed
  finish 125
}
exec 3>&-
trap 'finish 143' TERM
trap 'finish 130' INT
# Only now: whoever started it need not wait for that.
mtr_now=$(date +%s)
printf ' %s\n' "$mtr_now" >>"$mtr_job/queued"
# Who stops a job before its first process has signed leaves the mark, and waits for that.
[ ! -f "$mtr_job/stopping" ] || finish 143
if [ -n "$mtr_after$mtr_gpus" ]; then
  [ -z "$mtr_after" ] || await_jobs "$mtr_after"
  [ -z "$mtr_gpus" ] || await_gpus "$mtr_gpus"
  mtr_now=$(date +%s)
fi
printf '%s\n' "$mtr_now" >>"$mtr_job/queued"
turn running || exit 125
trap : INT QUIT TERM

mtr_watch=
if [ -n "$mtr_timeout" ]; then
  # Not every sleep takes a part of a second.
  case $mtr_timeout in *.*) sleep 0.01 || mtr_timeout=$((${mtr_timeout%.*} + 1)) ;; esac
  (
    trap - INT QUIT
    trap '[ -z "$!" ] || kill "$!"; exit' TERM
    sleep "$mtr_timeout" &
    wait "$!" || exit
    trap - TERM
    # A rename takes no space, and no file, where there is none to be had.
    mv -- "$mtr_job/stop" "$mtr_job/overdue"
    exec /bin/sh "$mtr_job/overdue" "${mtr_job##*/}" 10 keeper
  ) &
  mtr_watch=$!
fi
mtr_holder=
if [ -n "$mtr_input" ]; then
  # One writer is always there, or stdin would end with the first. It goes when somebody opens "hold".
  (
    exec >"$mtr_input"
    read -r mtr_word <"$mtr_job/hold"
    exec >/dev/null
    printf '' >"$mtr_job/in.ended"
  ) &
  mtr_holder=$!
fi
(
  # Not behind the parenthesis: mksh would open them itself, and remark on a signal there.
  exec >>"$mtr_job/out" 2>>"$mtr_job/err" <"${mtr_input:-/dev/null}" || exit 125
  # What is not there is told without the keeper's insides.
  case $1 in */*) ;; *) command -v -- "$1" >/dev/null || {
    printf 'mtr: %s: command not found on the server\n' "$1" >&2
    exit 127
  } ;; esac
  case $1 in
    -*) "$@" ;;
    *) exec "$@" ;;
  esac
)
mtr_s=$?
# ksh reports death by signal n as 256+n, everyone else as 128+n.
[ "$mtr_s" -le 255 ] || mtr_s=$((mtr_s - 128))
# Once the time is over, the watch ends what would not go on TERM.
[ -z "$mtr_watch" ] || [ -f "$mtr_job/overdue" ] || kill "$mtr_watch"
[ -z "$mtr_holder" ] || kill "$mtr_holder"
finish "$mtr_s"
