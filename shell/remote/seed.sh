#!/bin/sh
# Fills a new directory of a project from the one of its sibling: another worktree of the same repository, whose
# files lie here already.
#
#   set -- FROM TO CLIENT STAT RUN
#
#   FROM, TO  the two directories here; ~/ at their start means $HOME
#   CLIENT    whose record says what was put into FROM
#   STAT      c: GNU or busybox stat, f: BSD stat
#   RUN       random id of this run
#
# stdin is compressed sh text that calls seed with the paths to take, which begin with ./. Prints "mtr-seeded N".
#
# Assumptions:
# 1. Only what is as it was put there is taken: what somebody has changed in FROM is not what the client thinks.
# 2. Files are copied (sharing blocks where the file system can) and not linked: a program that writes into one in
#    place must not change the other project.
# 3. TO is filled at once, under the lock that also guards its first token (list.sh), and only while it is empty.

mtr_from=$1 mtr_to=$2 mtr_client=$3 mtr_stat=$4 mtr_run=$5
case $mtr_from in \~/*) mtr_from=$HOME/${mtr_from#\~/} ;; esac
case $mtr_to in \~/*) mtr_to=$HOME/${mtr_to#\~/} ;; esac
[ ! -L "$mtr_to/.mtr" ] && mkdir -p -- "$mtr_to/.mtr" && cd -- "$mtr_to" || exit 1
mtr_to=$PWD mtr_stage=$PWD/.mtr/seed.$mtr_run
cd -- "$mtr_from" && [ -f ".mtr/put.$mtr_client" ] && mkdir -- "$mtr_stage" || exit 1

is_fresh() {
  for mtr_p in "$mtr_to"/* "$mtr_to"/.[!.]* "$mtr_to"/..?* "$mtr_to"/.mtr/t.* "$mtr_to"/.mtr/busy.*; do
    if [ "$mtr_p" != "$mtr_to/.mtr" ] && { [ -e "$mtr_p" ] || [ -L "$mtr_p" ]; }; then return 1; fi
  done
}

st() {
  case $mtr_stat in
    c) LC_ALL=C TZ=UTC0 stat -c '%i:%s:%z|%n' -- "$@" 2>/dev/null ;;
    f) LC_ALL=C TZ=UTC0 stat -f '%i:%z:%Fc|%N' -- "$@" 2>/dev/null ;;
  esac
}

copy() { cp -pP --reflink=auto -- "$@" 2>/dev/null || cp -pP -- "$@"; }

mtr_count=0
seed() {
  mtr_d=$1
  shift
  st "$@" >"$mtr_stage/.cur"
  awk 'FNR == NR { c[$0]; next } ($0 in c) { print; delete c[$0] }' "$mtr_stage/.cur" ".mtr/put.$mtr_client" >"$mtr_stage/.same"
  set --
  while IFS= read -r mtr_line; do set -- "$@" "${mtr_line#*\|}"; done <"$mtr_stage/.same"
  [ $# -gt 0 ] || return 0
  mkdir -p -- "$mtr_stage/tree/$mtr_d" && copy "$@" "$mtr_stage/tree/$mtr_d/" && mtr_count=$((mtr_count + $#))
}

if ! is_fresh || ! gzip -dc >"$mtr_stage/.list" || ! mkdir "$mtr_stage/tree"; then
  rm -rf -- "$mtr_stage"
  exit 1
fi
# shellcheck disable=SC1091
. "$mtr_stage/.list"
if mkdir "$mtr_to/.mtr/first" 2>/dev/null; then
  if is_fresh; then
    for mtr_p in "$mtr_stage/tree"/* "$mtr_stage/tree"/.[!.]* "$mtr_stage/tree"/..?*; do
      if [ -e "$mtr_p" ] || [ -L "$mtr_p" ]; then mv -- "$mtr_p" "$mtr_to/"; fi
    done
    echo "mtr-seeded $mtr_count"
  fi
  rmdir "$mtr_to/.mtr/first"
fi
rm -rf -- "$mtr_stage"
