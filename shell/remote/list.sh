#!/bin/sh
# Says what a project's directory here is: its token, and what is in it when that token is not known there.
#
#   set -- DIR RUN STAT HOW CLIENT KNOWN...
#
#   DIR     the project's directory here, made where it is missing; ~/ at its start means $HOME
#   RUN     random id of this run
#   STAT    c: GNU or busybox stat, f: BSD stat, empty: there is none
#   HOW     look: touch nothing, and list whatever the token is; else empty
#   CLIENT  whose record of what was put here is looked into
#   KNOWN   tokens that need no listing
#
# Prints "mtr-token TOKEN", then, after a line "mtr-list", records that end
# in a newline, =MODE:MTIME:MTIME|INODE:SIZE:CTIME|PATH, for everything but directories and .mtr, then "mtr-end"; ~
# instead of = where the client has not put it here like that, if it has a record at all ("mtr-record yes");
# behind mtr-list it is compressed; where that cannot be done "mtr-unlisted" stands instead. The part behind the first | is a line of put.CLIENT: see apply.sh.
# Leaves with 1 (cannot be made or entered), 2 (cannot be written), 5 (a push does not end).
#
# Assumptions:
# 1. Somebody may push just now: then this waits. A lock whose owner does not live any more, in two looks, is
#    taken over under a token named after that run, so that who made it can tell what the tree is.
# 2. A tree without any token gets one. Both this and a takeover are done by whoever has made the directory "first",
#    after another look: renaming alone would let a slow one bring back what a faster one has given on already.
# 3. A run's file no.NEW is for its gate, which names the token on its command line.

mtr_dir=$1 mtr_run=$2 mtr_stat=$3 mtr_how=$4 mtr_put=.mtr/put.$5
shift 5
unset GZIP
# What an rc file has printed may lack the end of its line.
echo
case $mtr_dir in \~/*) mtr_dir=$HOME/${mtr_dir#\~/} ;; esac
if [ "$mtr_how" = look ] && ! cd -- "$mtr_dir" 2>/dev/null; then
  printf '%s\n' 'mtr-token none' mtr-unlisted
  exit 0
fi
if [ "$mtr_how" != look ]; then
  mkdir -p -- "$mtr_dir" && cd -- "$mtr_dir" || exit 1
  for mtr_f in .mtr .mtr/* .mtr/.gitignore .mtr/trash/* .mtr/partial/*; do
    [ ! -L "$mtr_f" ] || { echo "$PWD/$mtr_f is a symbolic link, and nothing is written through it: remove it" >&2 && exit 2; }
  done
  mkdir -p .mtr && printf '' >".mtr/probe.$mtr_run" && rm -f ".mtr/probe.$mtr_run" || exit 2
  # git here sees none of it.
  [ -f .mtr/.gitignore ] || echo '*' >.mtr/.gitignore || exit 2

  mtr_boot=
  read -r mtr_boot 2>/dev/null </proc/sys/kernel/random/boot_id || mtr_boot=$(uname -n)

  # Tells whether the run that holds the lock $1 may still live. Another machine's (a shared disk) cannot be
  # asked: its lock counts for ten minutes.
  is_alive() {
    read -r mtr_pid mtr_where 2>/dev/null <"$1" || return 1
    if [ "$mtr_where" != "$mtr_boot" ]; then
      [ -z "$(find "$1" -mmin +10 2>/dev/null)" ]
      return
    fi
    kill -0 "$mtr_pid" 2>/dev/null || [ -d "/proc/$mtr_pid" ] || return 1
    [ ! -r "/proc/$mtr_pid/cmdline" ] || grep -q "mtr-${1#.mtr/busy.}" "/proc/$mtr_pid/cmdline"
  }

  mtr_token='' mtr_i=0 mtr_dead=
  while [ -z "$mtr_token" ]; do
    for mtr_f in .mtr/t.*; do
      if [ -f "$mtr_f" ]; then
        # One is as good as another; a second one could only mislead.
        if [ -z "$mtr_token" ]; then mtr_token=${mtr_f#.mtr/t.}; else rm -f "$mtr_f"; fi
      fi
    done
    [ -z "$mtr_token" ] || break
    mtr_busy=
    for mtr_f in .mtr/busy.*; do
      [ -f "$mtr_f" ] || continue
      mtr_busy=yes
      if is_alive "$mtr_f"; then continue; fi
      if [ "$mtr_dead" != "${mtr_dead#* "$mtr_f" }" ] && mkdir .mtr/first 2>/dev/null; then
        # What is in it can be told by nobody but the client that this run was of.
        if [ -f "$mtr_f" ]; then printf '' >"$mtr_f" && mv "$mtr_f" ".mtr/t.${mtr_f#.mtr/busy.}"; fi
        rmdir .mtr/first
      else
        mtr_dead="$mtr_dead $mtr_f "
      fi
    done
    if [ -z "$mtr_busy" ]; then
      if mkdir .mtr/first 2>/dev/null; then
        for mtr_f in .mtr/t.* .mtr/busy.*; do [ ! -e "$mtr_f" ] || mtr_busy=yes; done
        [ -n "$mtr_busy" ] || printf '' >".mtr/t.$mtr_run" || exit 2
        rmdir .mtr/first
        continue
      elif [ $((mtr_i % 20)) -eq 19 ]; then
        rmdir .mtr/first 2>/dev/null
      fi
    fi
    mtr_i=$((mtr_i + 1))
    [ "$mtr_i" -lt 1200 ] || exit 5
    sleep 0.1 2>/dev/null || sleep 1
  done

  # What runs that have gone left behind.
  for mtr_f in .mtr/in.* .mtr/cur.* .mtr/theirs.* .mtr/plan.*; do
    if [ -e "$mtr_f" ] && [ ! -e ".mtr/busy.${mtr_f##*.}" ]; then rm -rf -- "$mtr_f"; fi
  done
  for mtr_f in .mtr/no.*; do
    # In brackets, the + is not what it looks for in its own command line.
    if [ -e "$mtr_f" ] && [ -d /proc/self ] && ! grep -qs "[+]${mtr_f#.mtr/no.}" /proc/[0-9]*/cmdline; then
      rm -f "$mtr_f"
    fi
  done
  find .mtr/no.* .mtr/seed.* "$HOME"/.mtr-no.* "$HOME"/.mtr-in.* -prune -mmin +30 -exec rm -rf -- {} + 2>/dev/null

fi
echo "mtr-token ${mtr_token:-none}"
for mtr_f; do
  if [ "$mtr_f" = "${mtr_token-}" ]; then
    echo mtr-known
    exit 0
  fi
done
if ! command -v gzip >/dev/null || ! command -v find >/dev/null; then
  echo mtr-unlisted
  exit 0
fi
if [ -s "$mtr_put" ] && command -v awk >/dev/null; then
  echo 'mtr-record yes'
  mark() { awk 'FNR == NR { p[$0]; next } { print (substr($0, index($0, "|") + 1) in p ? "=" : "~") $0 }' "$mtr_put" -; }
else
  mark() { sed 's/^/~/'; }
fi
echo mtr-list
{
  case $mtr_stat in
    c) find . -path ./.mtr -prune -o ! -type d -exec env LC_ALL=C TZ=UTC0 stat -c '%f:%Y:%y|%i:%s:%z|%n' -- {} + ;;
    f) find . -path ./.mtr -prune -o ! -type d -exec env LC_ALL=C TZ=UTC0 stat -f '%Xp:%m:%Fm|%i:%z:%Fc|%N' -- {} + ;;
  esac | LC_ALL=C mark
  echo mtr-end
} | gzip -1
