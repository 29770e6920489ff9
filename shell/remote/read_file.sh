#!/bin/sh
# shellcheck disable=SC2154  # within.sh sets what it says
# Prints a piece of a file; within.sh stands in front.
#
#   set -- DIR PATH WITHIN OFFSET LIMIT
#
#   DIR, PATH, WITHIN  see within.sh
#   OFFSET  bytes to leave out
#   LIMIT   how many bytes to print at most
#
# Prints a line "mtr-file SIZE MODE", where MODE is as chmod takes it, or - where nothing here tells it; then the bytes.
# Leaves as find_path does, and with 3 (no such file), 4 (a directory), 5 (neither file nor directory), 6 (it may not be read).

mtr_offset=$4 mtr_limit=$5
find_path "$1" "$2" "$3"
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
