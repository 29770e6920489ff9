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
# 3. The keeper's number counts only while the process has the start that the keeper has written: numbers are reused.

mtr_id=$1 mtr_grace=$2 mtr_who=$3
case $mtr_id in *[!0-9a-f]* | '') exit 2 ;; esac
mtr_job=$HOME/.mtr/jobs/$mtr_id
[ "$mtr_who" != keeper ] || mtr_job=${0%/*}
cd -- "$mtr_job" || exit 2
exec 2>/dev/null
[ "$mtr_who" = keeper ] || echo

# Prints the pids whose environment says that they belong: programs that left the session too.
marked() {
  grep -l -a -z -x -s -e "MTR_JOB=$mtr_id" /proc/[0-9]*/environ | cut -d / -f 3
}

processes() {
  ps -A -o pid= -o ppid= -o pgid= -o sess= -o stat= && return
  for mtr_p in /proc/[0-9]*; do
    read -r mtr_stat <"$mtr_p/stat" || continue
    # shellcheck disable=SC2086
    set -- ${mtr_stat##*) }
    echo "${mtr_p#/proc/} $2 $3 $4 $1"
  done
}

# Prints what is alive of the job, without the keeper and without this script.
members() {
  processes | awk -v known="$mtr_known $(marked | tr '\n' ' ')" -v keeper="$mtr_keeper" -v own="$$" '
    BEGIN { n = split(known, k, " "); for (i = 1; i <= n; i++) belongs[k[i]] = 1 }
    $5 ~ /^Z/ { next }
    {
      parent[$1] = $2
      if (keeper && ($3 == keeper || $4 == keeper)) belongs[$1] = 1
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
      for (p in belongs) if ((p in parent) && !(p in spared) && p != keeper) print p
    }'
}

find_keeper .
[ "$mtr_who" = keeper ] || case $mtr_at in queued | running) : >stopping ;; esac
mtr_known='' mtr_tick=0 mtr_found='' mtr_signal=TERM mtr_signalled=' '
while :; do
  find_keeper .
  # Parents first: a command hears of its end before it sees that of its children.
  mtr_alive=$(members | sort -n | tr '\n' ' ')
  if [ "$mtr_at" = queued ] && [ -n "$mtr_keeper" ]; then mtr_alive="$mtr_alive $mtr_keeper"; fi
  mtr_known="$mtr_known $mtr_alive"
  mtr_left=${mtr_alive% }
  if [ -z "${mtr_left# }" ]; then
    # The keeper writes down the status, and goes.
    if [ -z "$mtr_keeper" ] || [ "$mtr_who" = keeper ] || [ "$mtr_tick" -gt 50 ]; then break; fi
  fi
  mtr_found="$mtr_found$mtr_left"
  if [ "$mtr_tick" -eq $((mtr_grace * 10)) ]; then mtr_signal=KILL mtr_signalled=' '; fi
  if [ "$mtr_tick" -gt $((mtr_grace * 10 + 50)) ]; then
    echo "left $mtr_left"
    exit 1
  fi
  for mtr_p in $mtr_alive; do
    case $mtr_signalled in
      *" $mtr_p "*) ;;
      *)
        kill -s "$mtr_signal" "$mtr_p"
        mtr_signalled="$mtr_signalled$mtr_p "
        ;;
    esac
  done
  mtr_tick=$((mtr_tick + 1))
  sleep 0.1 || sleep 1
done
if [ -n "$mtr_found" ]; then echo gone; else echo ended; fi
