#!/bin/sh
# shellcheck disable=SC2154  # life.sh sets what it says
# Ends a job with everything that it has started, and sees that it is gone; life.sh stands in front.
#
#   set -- ID GRACE WHO
#
#   ID     of the job
#   GRACE  seconds between TERM and KILL
#   WHO    client, or keeper: the job's own time is over
#
# Prints "gone", "ended" where the job had ended and left nothing, or "left" and the pids that would not end.
#
# Assumptions:
# 1. A process belongs to the job if it has MTR_JOB=ID in its environment (proc(5)), is in the keeper's session or
#    process group, or descends from one that belongs; what was seen once still belongs after its parent has died.
#    A shell of somebody who looks into a job's directory has none of these.
# 2. The keeper is spared to the end: it writes down how the command ended. One that waits in the queue is not.
# 3. Numbers are reused: the keeper's counts only while the process has the start that the keeper has written, and one
#    that was seen only while it has the start that was seen with it, as ps or proc(5) tells it.
# 4. What was stopped (SIGSTOP) hears of TERM only once it goes on: CONT follows each TERM, also for the keeper.
# 5. A redirection that fails ends a shell that has it on a special builtin, such as the colon.

mtr_id=$1 mtr_grace=$2 mtr_who=$3
case $mtr_id in *[!0-9a-f]* | '') exit 2 ;; esac
mtr_job=$HOME/.mtr/jobs/$mtr_id
[ "$mtr_who" != keeper ] || mtr_job=${0%/*}
cd -- "$mtr_job" || exit 2
find_keeper .
is_made . || exit 2
exec 2>/dev/null
[ "$mtr_who" = keeper ] || echo

# Prints the pids whose environment says that they belong: programs that left the session too.
marked() {
  grep -l -a -z -x -s -e "MTR_JOB=$mtr_id" /proc/[0-9]*/environ | cut -d / -f 3
}

# Prints a line "PID PARENT GROUP SESSION STATE START..." for each process.
processes() {
  ps -A -o pid= -o ppid= -o pgid= -o sess= -o stat= -o lstart= && return
  for mtr_p in /proc/[0-9]*; do
    read -r mtr_stat <"$mtr_p/stat" || continue
    # shellcheck disable=SC2086
    set -- ${mtr_stat##*) }
    echo "${mtr_p#/proc/} $2 $3 $4 $1 ${20}"
  done
}

# Prints "PID START" of what is alive of the job, without the keeper and without this script.
members() {
  processes | awk -v known="$mtr_known" -v marked="$(marked | tr '\n' ' ')" -v keeper="$mtr_keeper" -v own="$$" '
    BEGIN {
      n = split(known, k, " ")
      for (i = 1; i < n; i += 2) seen[k[i], k[i + 1]] = 1
      n = split(marked, k, " ")
      for (i = 1; i <= n; i++) belongs[k[i]] = 1
    }
    $5 ~ /^Z/ { next }
    {
      parent[$1] = $2
      start[$1] = $6
      for (i = 7; i <= NF; i++) start[$1] = start[$1] "_" $i
      if (($1, start[$1]) in seen || (keeper && ($3 == keeper || $4 == keeper))) belongs[$1] = 1
    }
    END {
      if (keeper) belongs[keeper] = 1
      # Whoever asks is no part of it, nor is what it starts: the watch of a time-out is a child of the keeper.
      spared[own] = 1
      do {
        changed = 0
        for (p in parent) if (!(p in spared) && (parent[p] in spared)) { spared[p] = 1; changed = 1 }
      } while (changed)
      do {
        changed = 0
        for (p in parent) if (!(p in belongs) && (parent[p] in belongs)) { belongs[p] = 1; changed = 1 }
      } while (changed)
      for (p in belongs) if ((p in parent) && !(p in spared) && p != keeper) print p, start[p]
    }'
}

# Sets mtr_now to seconds of a clock that nobody sets, where there is one.
read_clock() {
  if { read -r mtr_now mtr_f </proc/uptime; }; then mtr_now=${mtr_now%%.*}; else mtr_now=$(date +%s); fi
}

# Sets mtr_alive to the pids to end, and mtr_known to those with their starts.
find_members() {
  find_keeper .
  # Parents first: a command hears of its end before it sees that of its children.
  mtr_known=$(members | sort -n | tr '\n' ' ')
  mtr_alive='' mtr_f=
  # shellcheck disable=SC2086
  for mtr_p in $mtr_known; do
    if [ -z "$mtr_f" ]; then mtr_alive="$mtr_alive$mtr_p " mtr_f=start; else mtr_f=; fi
  done
  # One that waits in the queue has nobody to end it.
  if [ "$mtr_at" = queued ] && [ -n "$mtr_keeper" ]; then mtr_alive="$mtr_alive$mtr_keeper "; fi
}

# Tells whether the job is being started: its first process has not signed yet, and may not be there yet.
is_starting() {
  [ "$mtr_at" = queued ] && [ ! -s queued ] && [ -n "$(find queued -mmin -1)" ]
}

# The mark that the keeper looks for: a name of its own, or where no file can be made, that of one nobody reads any more.
mark() {
  case $mtr_who$mtr_at in clientqueued | clientrunning) ;; *) return ;; esac
  [ -f stopping ] || printf '' >stopping || mv -- keeper stopping
}

read_clock
mtr_begun=$mtr_now mtr_known='' mtr_found='' mtr_signal=TERM mtr_signalled=' ' mtr_idle=
find_members
if is_starting; then mark; fi
while is_starting && [ $((mtr_now - mtr_begun)) -lt 5 ]; do
  # It looks for the mark once it has signed, and ends then.
  sleep 0.1 || sleep 1
  mtr_found=yes
  read_clock
  find_members
done
while :; do
  read_clock
  mtr_passed=$((mtr_now - mtr_begun))
  if [ -z "$mtr_alive" ]; then
    [ -n "$mtr_keeper" ] || break
    # It writes down the status, and goes.
    kill -s CONT "$mtr_keeper"
    [ -n "$mtr_idle" ] || mtr_idle=$mtr_now
    if [ "$mtr_who" = keeper ] || [ $((mtr_now - mtr_idle)) -gt 5 ]; then break; fi
  elif [ "$mtr_passed" -gt $((mtr_grace + 6)) ]; then
    echo "left ${mtr_alive% }"
    exit 1
  fi
  # The seconds are whole ones: KILL never comes before its time.
  if [ "$mtr_signal" = TERM ] && [ "$mtr_passed" -ge $((mtr_grace + (mtr_grace > 0))) ]; then
    mtr_signal=KILL mtr_signalled=' '
  fi
  for mtr_p in $mtr_alive; do
    case $mtr_signalled in
      *" $mtr_p "*) ;;
      *)
        # What has ended by itself since was not stopped.
        [ -n "$mtr_found" ] || mark
        if kill -s "$mtr_signal" "$mtr_p"; then mtr_found=yes; fi
        [ "$mtr_signal" != TERM ] || kill -s CONT "$mtr_p"
        mtr_signalled="$mtr_signalled$mtr_p "
        ;;
    esac
  done
  sleep 0.1 || sleep 1
  find_members
done
# A first process that has never signed writes down nothing.
if [ "$mtr_at" = queued ] && [ ! -s queued ] && [ -f stopping ]; then mv queued "ended.143.$(date +%s).stopped"; fi
if [ -n "$mtr_found" ]; then echo gone; else echo ended; fi
