#!/bin/sh
# Prints a piece of a file.
#
#   set -- DIR PATH OFFSET LIMIT
#
#   DIR     the project's directory, from which relative paths count; ~/ at its start means $HOME, at that of PATH too
#   OFFSET  bytes to leave out
#   LIMIT   how many bytes to print at most
#
# Prints a line "mtr-file SIZE MODE", where MODE is as chmod takes it, or - where nothing here tells it; then the bytes.
# Leaves with 3 (no such file), 4 (a directory), 5 (neither file nor directory), 6 (it may not be read).

mtr_dir=$1 mtr_path=$2 mtr_offset=$3 mtr_limit=$4
case $mtr_dir in \~) mtr_dir=$HOME ;; \~/*) mtr_dir=$HOME/${mtr_dir#??} ;; esac
case $mtr_path in
  \~/*) mtr_path=$HOME/${mtr_path#??} ;;
  /*) ;;
  *) mtr_path=$mtr_dir/$mtr_path ;;
esac
[ -e "$mtr_path" ] || exit 3
[ ! -d "$mtr_path" ] || exit 4
[ -f "$mtr_path" ] || exit 5
[ -r "$mtr_path" ] || exit 6
mtr_size=$(($(wc -c <"$mtr_path"))) || exit 6
mtr_mode=$(stat -L -c %a -- "$mtr_path" 2>/dev/null || stat -L -f %Lp -- "$mtr_path" 2>/dev/null)
# What an rc file has printed may lack the end of its line.
printf '\nmtr-file %s %s\n' "$mtr_size" "${mtr_mode:--}"
# By a redirection, since a name may begin with a dash; nothing behind the size that was told.
[ "$mtr_size" -le "$mtr_offset" ] ||
  tail -c "+$((mtr_offset + 1))" <"$mtr_path" | head -c "$((mtr_size - mtr_offset < mtr_limit ? mtr_size - mtr_offset : mtr_limit))"
