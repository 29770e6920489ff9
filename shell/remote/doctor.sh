#!/bin/sh
# Says what mtr doctor asks of a server, in one go. Changes nothing: what it makes to try a directory it removes.
#
#   set -- DIR ID
#
#   DIR  the project's directory here, which need not be there; ~ or ~/ at its start means $HOME
#   ID   random, for the name of what is made to try the directory
#
# Prints lines "mtr-doctor KEY VALUE", the first of them "start 1", the last "end 1". See mtr/doctor/facts.py.
#
# Assumptions:
# 1. The time comes first, so that what follows does not count as a clock that goes wrong.
# 2. Where DIR is missing, the nearest directory above it is tried: making DIR would leave it behind.
# 3. In a project's directory, mtr's own corner is where to try: whoever watches the rest is not woken.
# 4. df -P prints one line for each file system; of df -i nothing is sure, so it goes as it is, to be read with care.
# 5. loginctl asks over D-Bus, where nobody may answer.

# What an rc file has printed may lack the end of its line.
echo
say() { printf 'mtr-doctor %s %s\n' "$1" "$2"; }
say start 1
say clock "$(date +%s.%N 2>/dev/null)"

mtr_dir=$1 mtr_id=$2
say system "$(uname -sr)"
say user "$(id -un) $(id -u)"
say shell "${SHELL-}"
[ "${LC_MTR_PROBE-}" != 1 ] || say payload LC_MTR
[ "${XMODIFIERS-}" != mtr-probe ] || say payload XMODIFIERS
for mtr_t in tar gzip awk stat base64 find grep sed tr wc head cat cp ln mv rm mkdir rmdir date uname env sleep; do
  command -v "$mtr_t" >/dev/null || say missing "$mtr_t"
done
for mtr_t in apt-get dnf yum zypper apk pacman pkg brew; do
  ! command -v "$mtr_t" >/dev/null || say installer "$mtr_t"
done
if command -v rsync >/dev/null; then say rsync "$(rsync --version 2>&1 | sed -n 1p)"; fi
if command -v nvidia-smi >/dev/null; then
  set -- /proc/driver/nvidia/gpus/*/
  [ -d "$1" ] || shift
  say gpus "$#"
fi

if [ -d /run/systemd/system ]; then
  say linger "$([ -e "/var/lib/systemd/linger/$(id -un)" ] && echo yes || echo no)"
  set -- loginctl show-user -p KillUserProcesses
  ! command -v timeout >/dev/null || set -- timeout 2 "$@"
  ! command -v loginctl >/dev/null || say kills "$("$@" 2>/dev/null </dev/null | sed -n 's/^KillUserProcesses=//p')"
fi

case $mtr_dir in
  \~) mtr_dir=$HOME ;;
  \~/*) mtr_dir=$HOME/${mtr_dir#\~/} ;;
esac
mtr_at=$mtr_dir
until [ -e "$mtr_at" ] || [ -L "$mtr_at" ]; do
  mtr_at=${mtr_at%/*}
  [ -n "$mtr_at" ] || mtr_at=/
done
say nearest "$mtr_at"
if [ "$mtr_at" = "$mtr_dir" ]; then say place there; else say place missing; fi
[ ! -L "$mtr_dir/.mtr" ] || say link "$mtr_dir/.mtr"
if [ -d "$mtr_at" ]; then
  mtr_try=${mtr_at%/}/.mtr-doctor.$mtr_id
  [ ! -d "$mtr_dir/.mtr" ] || [ -L "$mtr_dir/.mtr" ] || [ ! -w "$mtr_dir" ] || mtr_try=$mtr_dir/.mtr/doctor.$mtr_id
  trap 'rm -f -- "$mtr_try/file"; rmdir -- "$mtr_try" 2>/dev/null' EXIT
  trap 'exit 1' HUP INT TERM
  if mtr_words=$({ mkdir -- "$mtr_try" && printf '%8192s' x | cat >"$mtr_try/file"; } 2>&1); then
    say written yes
  else
    say refused "$(printf '%s\n' "$mtr_words" | sed -n '$p')"
  fi
  rm -f -- "$mtr_try/file"
  rmdir -- "$mtr_try" 2>/dev/null
  say blocks "$(df -Pk -- "$mtr_at" 2>/dev/null | sed -n 2p)"
  say inodes "$(df -Pi -- "$mtr_at" 2>/dev/null | sed -n 2p)"
else
  say refused "$mtr_at is not a directory"
fi
say end 1
