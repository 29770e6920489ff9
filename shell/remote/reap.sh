#!/bin/sh
# Ends every process of one run: sent over a second session when a run in batch is interrupted, and at the next
# contact for a run that was cut off.
#
#   set -- HALF1 HALF2 SIGNAL LOOKS SPARE
#
#   HALF1 HALF2  the run's id in two parts, so that this script's own argv does not match what it looks for
#   SIGNAL       INT, TERM or HUP: what mtr itself received, sent first
#   LOOKS        how often to look for a run, every 0.1 s: one that starts just now may not show yet
#   SPARE        not empty: a process that ignores hangups is left alone, as nohup means it
#
# Prints "gone" when nothing of the run is left, "none" when no such run was found, "kept" and the pids of those spared,
# else "left" and the pids.
#
# Assumptions:
# 1. sshd makes the gate (mtr-ID) leader of a session and of a process group. The gate and its subshells show as
#    sh -c mtr_sent=$(printf %b "$1") && eval "$mtr_sent" mtr-ID ...; on a machine that is its own server the ssh of
#    the run shows the same words with a quote in front of mtr-ID, and is not one of its processes.
# 2. A process belongs to the run if the gate is an ancestor, or if it shares a group with one that belongs;
#    children that changed group or session are found through their parent. What was seen once still belongs
#    after its parent has died.
# 3. The leader is spared to the end: it reports the command's status.
# 4. The signal goes once to each process, since a second Ctrl-C means something else to many programs. After
#    2 s, or as soon as the command itself has ended, TERM follows for what is left, after 3 more KILL.
# 5. A slim container may lack ps: /proc tells the same.
# 6. Where this script's own process ignores hangups, sshd was started so, and all do: nobody has asked for it.

MTR_ID=mtr-$1$2
export MTR_ID
mtr_signal=$3 mtr_looks=$4 mtr_spare=$5

# Tells whether the process $1 ignores hangups: the lowest bit of the mask (proc(5)).
ignores_hangups() {
  while read -r mtr_name mtr_mask; do
    if [ "$mtr_name" = SigIgn: ]; then
      case $mtr_mask in *[13579bdf]) return 0 ;; *) return 1 ;; esac
    fi
  done 2>/dev/null <"/proc/$1/status"
  return 1
}
if [ -n "$mtr_spare" ] && ignores_hangups $$; then mtr_spare=; fi

processes() {
  ps -A -o pid= -o ppid= -o pgid= -o stat= -o args= 2>/dev/null && return
  for mtr_p in /proc/[0-9]*; do
    read -r mtr_stat <"$mtr_p/stat" || continue
    # The name in parentheses may hold blanks and parentheses itself.
    # shellcheck disable=SC2086
    set -- ${mtr_stat##*) }
    echo "${mtr_p#/proc/} $2 $3 $1 $(tr '\0' ' ' <"$mtr_p/cmdline")"
  done 2>/dev/null
}

# Prints "leader PID" for the gate and "member PID" for everything else alive of the run.
# The known pids come in the environment: an argument would put the id into awk's own argv.
members() {
  processes | MTR_KNOWN=$mtr_known awk '
    BEGIN { gate = "\"$mtr_sent\" " ENVIRON["MTR_ID"] " "; n = split(ENVIRON["MTR_KNOWN"], k, " "); for (i = 1; i <= n; i++) known[k[i]] = 1 }
    $4 ~ /^Z/ { next }
    {
      parent[$1] = $2; group[$1] = $3
      if (index($0, gate) && $1 == $3) leader = $1
      if (index($0, gate) || $1 in known) in_run[$1] = 1
    }
    END {
      do {
        changed = 0
        for (p in in_run) in_group[group[p]] = 1
        for (p in parent)
          if (!(p in in_run) && (parent[p] in in_run || group[p] in in_group)) { in_run[p] = 1; changed = 1 }
      } while (changed)
      if (leader) print "leader", leader
      for (p in in_run) if (p != leader) print "member", p
    }'
}

# Nobody looks any more for what the run, or its client, has left in the home directory.
trap 'rm -f "$HOME/.mtr-no.${MTR_ID#mtr-}" "$HOME/.mtr-in.${MTR_ID#mtr-}"' EXIT

pause() { sleep 0.1 2>/dev/null || sleep 1; }

mtr_known='' mtr_signalled=' ' mtr_tick=0 mtr_found=
while :; do
  mtr_leader='' mtr_alive='' mtr_kept=
  # shellcheck disable=SC2046
  set -- $(members)
  while [ $# -gt 0 ]; do
    if [ "$1" = leader ]; then
      mtr_leader=$2
    elif [ -n "$mtr_spare" ] && ignores_hangups "$2"; then
      mtr_kept="$mtr_kept $2"
    else
      mtr_alive="$mtr_alive $2"
    fi
    shift 2
  done
  if [ -n "$mtr_kept" ] && [ -z "$mtr_alive" ]; then
    echo "kept$mtr_kept"
    exit
  fi
  if [ -n "$mtr_leader$mtr_alive" ]; then
    mtr_found=yes
  elif [ -n "$mtr_found" ]; then
    echo gone
    exit
  elif [ "$mtr_tick" -ge $((mtr_looks - 1)) ]; then
    echo none
    exit
  fi
  mtr_known="$mtr_known$mtr_alive"
  if [ -z "$mtr_leader" ] && [ "$mtr_tick" -gt 0 ] && [ "$mtr_tick" -lt 20 ]; then mtr_tick=20; fi
  case $mtr_tick in
    20) mtr_signal=TERM mtr_signalled=' ' ;;
    50) mtr_signal=KILL mtr_signalled=' ' ;;
    60) mtr_alive="$mtr_alive $mtr_leader" mtr_signalled=' ' ;;
    80)
      echo "left $mtr_alive $mtr_leader"
      exit 1
      ;;
  esac
  for mtr_p in $mtr_alive; do
    case $mtr_signalled in
      *" $mtr_p "*) ;;
      *)
        kill -s "$mtr_signal" "$mtr_p" 2>/dev/null
        mtr_signalled="$mtr_signalled$mtr_p "
        ;;
    esac
  done
  mtr_tick=$((mtr_tick + 1))
  pause
done
