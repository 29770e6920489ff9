#!/bin/sh
# Keeps the demo's server: starts it, waits until the demo is over, then ends everything that the server started.
#
#   keep.sh DIR ARGV...
#
#   DIR   the demo's directory. In DIR/server: lifeline, a FIFO that the demo holds open; log, the server's own
#         words; ended, the server's status once it has ended by itself
#   ARGV  the server
#
# A line in the FIFO asks for the server's end. End of file means that the demo has been killed, and the last run
# that it started has ended; then nobody else is left to remove DIR, and it goes as well.
#
# Assumptions:
# 1. This is the leader of a session of its own: Ctrl-C on the demo's terminal reaches neither it nor the server.
# 2. Every session there hangs below the server by its parents. What makes itself a daemon is not found; the demo
#    starts no such thing.
# 3. A slim container may lack ps: /proc tells the same.
exec </dev/null >/dev/null 2>&1
dir=$1
shift
trap : HUP INT TERM

processes() {
  ps -A -o pid= -o ppid= -o stat= && return
  for p in /proc/[0-9]*; do
    read -r stat <"$p/stat" || continue
    # The name in parentheses may hold blanks and parentheses itself.
    # shellcheck disable=SC2086
    set -- ${stat##*) }
    echo "${p#/proc/} $2 $1"
  done
}

# Prints the pids of process $1 and of everything below it.
family() {
  processes | awk -v root="$1" '
    { parent[$1] = $2 }
    END {
      found[root] = 1
      do {
        changed = 0
        for (p in parent) if (!(p in found) && parent[p] in found) { found[p] = 1; changed = 1 }
      } while (changed)
      for (p in found) if (p in parent) print p
    }'
}

# Prints those of the pids that still run; a zombie does not.
living() {
  processes | awk -v pids="$*" '
    BEGIN { n = split(pids, list, " "); for (i = 1; i <= n; i++) wanted[list[i]] = 1 }
    $1 in wanted && $3 !~ /^Z/ { print $1 }'
}

{
  "$@" >"$dir/server/log" 2>&1
  echo "$?" >"$dir/server/ended"
} &
server=$!

if read -r _ <"$dir/server/lifeline"; then orphaned=; else orphaned=yes; fi

# shellcheck disable=SC2046
set -- $(family "$server")
[ $# = 0 ] || kill -TERM "$@"
tries=0
while
  # shellcheck disable=SC2046
  set -- $(living "$@")
  [ $# != 0 ]
do
  tries=$((tries + 1))
  [ "$tries" -lt 20 ] || kill -KILL "$@"
  [ "$tries" -lt 40 ] || break
  sleep 0.1 || sleep 1
done

# The masters of the demo end with their connection and remove their sockets meanwhile, so once may not do.
tries=0
while [ -n "$orphaned" ] && [ "$tries" -lt 50 ]; do
  rm -rf -- "$dir" && break
  tries=$((tries + 1))
  sleep 0.1 || sleep 1
done
