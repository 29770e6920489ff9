#!/bin/sh
# shellcheck disable=SC2034  # whoever comes after it reads them
# Tells whether the keeper of a job lives. Stands in front of the scripts that need to know; does nothing by itself.
#
# A process is told from a later one of the same number by when it was started, and from one before a reboot by what the
# system says of its boot: both as the keeper itself has written them, with these very words.
#
# Assumptions:
# 1. /proc/PID/stat has the state as its 3rd field and the start as its 22nd (proc(5)); elsewhere ps knows lstart.

mtr_boot=
{ read -r mtr_boot </proc/sys/kernel/random/boot_id; } 2>/dev/null ||
  mtr_boot=$(sysctl -n kern.boottime 2>/dev/null | tr -s ' ' _)
# Nobody knows: then the start alone tells, which has the day in it where ps gives it.
[ -n "$mtr_boot" ] || mtr_boot=-

# Sets mtr_start to when the process $1 was started; to nothing where there is none, or one that has ended.
find_start() {
  mtr_start=
  if { read -r mtr_stat <"/proc/$1/stat"; } 2>/dev/null; then
    # The name in parentheses may hold blanks and parentheses itself.
    # shellcheck disable=SC2086
    set -- ${mtr_stat##*) }
    [ "$1" = Z ] || mtr_start=${20}
  elif [ ! -r /proc/self/stat ]; then
    # The state, and behind it the words of the start.
    mtr_start=$(ps -o stat= -o lstart= -p "$1" 2>/dev/null | tr -s ' ' _)
    case ${mtr_start#_} in Z*) mtr_start= ;; *) mtr_start=${mtr_start#_} mtr_start=_${mtr_start#*_} ;; esac
    [ "$mtr_start" != _ ] || mtr_start=
  fi
}

look() {
  mtr_at='' mtr_said='' mtr_keeper=
  for mtr_f in "$1"/queued "$1"/running "$1"/ended.*; do
    [ -f "$mtr_f" ] || continue
    mtr_at=${mtr_f##*/} mtr_pid='' mtr_began='' mtr_booted='' mtr_since='' mtr_ran=
    # It may have got its next name by now, and not every shell applies what stands in front of the < that fails.
    { { read -r mtr_pid mtr_began mtr_booted mtr_since && read -r mtr_ran; } <"$mtr_f"; } 2>/dev/null
    mtr_said="$mtr_pid $mtr_began $mtr_booted $mtr_since $mtr_ran"
    case $mtr_pid in *[!0-9]* | '') continue ;; esac
    find_start "$mtr_pid"
    if [ -n "$mtr_start" ] && [ "$mtr_boot $mtr_start" = "$mtr_booted $mtr_began" ]; then mtr_keeper=$mtr_pid; fi
  done
}

# Sets mtr_at to the name of the file that says how the job in the directory $1 stands, mtr_said to what is in it, and
# mtr_keeper to the pid of its keeper while that lives. A keeper renames the file before it goes: who sees neither the
# file nor the keeper looks once more, since one has changed into the other meanwhile.
find_keeper() {
  for mtr_n in 1 2 3; do
    look "$1"
    case $mtr_keeper$mtr_at in *[0-9]* | ended.*) break ;; esac
  done
}

# After find_keeper "$1": tells whether that is a job, and not one that is being made, or was cut off in that. One whose
# keeper has signed was made, though somebody has removed its output.
is_made() {
  [ -f "$1/out" ] || case $mtr_at:$mtr_said in queued:*[0-9]* | [re]*) ;; *) return 1 ;; esac
}
