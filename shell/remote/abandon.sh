#!/bin/sh
# Tells the gate that waits for a push that it will not come.
#
#   set -- DIR TOKEN
mtr_dir=$1
case $mtr_dir in \~/*) mtr_dir=$HOME/${mtr_dir#\~/} ;; esac
[ ! -L "$mtr_dir/.mtr" ] || exit 1
mtr_no=$mtr_dir/.mtr/no.$2
printf '' >"$mtr_no" || exit 1
[ -d /proc/self ] || exit 0
# Nobody would take it away again where no gate waits any more.
mtr_i=0
while [ -f "$mtr_no" ] && [ "$mtr_i" -lt 60 ]; do
  if ! grep -qs "[+]$2" /proc/[0-9]*/cmdline; then rm -f -- "$mtr_no"; fi
  mtr_i=$((mtr_i + 1))
  sleep 0.05 2>/dev/null || sleep 1
done
[ ! -f "$mtr_no" ]
