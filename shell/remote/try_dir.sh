#!/bin/sh
# Tells whether a project's directory can be made and written here; what was not there before is not there after.
#
#   set -- DIR RUN
#
#   DIR     the project's directory here; ~/ at its start means $HOME
#   RUN     random id of this run
#
# Prints "mtr-dir STATE": new (it could be made), empty, known (mtr has brought files there), used (only others have).
# Leaves with 1 (cannot be made or entered), 2 (cannot be written).
#
# Assumptions:
# 1. Somebody may make or fill the same directories meanwhile: removed is what this run has made, and only while empty.

mtr_dir=$1 mtr_run=$2 mtr_made=0 mtr_state=new
# What an rc file has printed may lack the end of its line.
echo
case $mtr_dir in \~/*) mtr_dir=$HOME/${mtr_dir#\~/} ;; esac

# Every directory on the way that is missing, the outermost first.
set --
mtr_p=$mtr_dir
while [ -n "$mtr_p" ] && [ ! -d "$mtr_p" ]; do
  set -- "$mtr_p" "$@"
  mtr_p=${mtr_p%/*}
done

clean() {
  rm -f -- "$mtr_dir/.mtr-probe.$mtr_run"
  for mtr_p; do
    [ "$mtr_made" -gt 0 ] || break
    rmdir -- "$mtr_p" 2>/dev/null
    mtr_made=$((mtr_made - 1))
  done
}
trap 'clean "$@"' 0
trap 'exit 2' HUP INT TERM

# Those made come to stand in front, the innermost first: what clean takes away.
for mtr_p; do
  if mkdir -- "$mtr_p"; then
    set -- "$mtr_p" "$@"
    mtr_made=$((mtr_made + 1))
  else
    [ -d "$mtr_p" ] || exit 1
  fi
done
cd -- "$mtr_dir" || exit 1
if [ "$mtr_made" -eq 0 ]; then
  mtr_state=empty
  for mtr_p in * .[!.]* ..?*; do
    if [ -e "$mtr_p" ] || [ -L "$mtr_p" ]; then mtr_state=used; fi
  done
  for mtr_p in .mtr/t.* .mtr/busy.*; do
    if [ -f "$mtr_p" ]; then mtr_state=known; fi
  done
fi
# Not `:`, whose failed redirection ends the shell with a status of the shell's choice.
true >".mtr-probe.$mtr_run" || exit 2
cd / || exit 2
echo "mtr-dir $mtr_state"
