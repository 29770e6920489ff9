#!/bin/sh
# Makes a file of what comes on stdin: beside its place, and renamed into it once it is whole. within.sh
# stands in front.
#
#   set -- DIR PATH WITHIN SIZE MODE RUN
#
#   DIR, PATH, WITHIN  see within.sh
#   SIZE  how many bytes are to come
#   MODE  as chmod takes it; empty: as the file there has it, else as the umask has it
#   RUN   random, for a name of its own
#
# Prints "mtr-wrote new" or "mtr-wrote replaced". Leaves as find_path does, and with 4 (a directory is in its place), 5 (something else is), 6
# (it cannot be written), 7 (less came than was said: nothing was changed). Directories in front of it are made.
#
# Assumptions:
# 1. Replacing a symbolic link would leave the file that it names as it was: the file is written, where readlink can tell
#    its name, and else nothing is.

mtr_size=$4 mtr_mode=$5 mtr_run=$6
# What an rc file has printed may lack the end of its line.
echo
case $2 in */ | */. | */..) exit 4 ;; esac
find_path "$1" "$2" "$3"
if [ -L "$mtr_path" ]; then
  mtr_path=$(readlink -f -- "$mtr_path" && echo .) && mtr_path=${mtr_path%??} && [ -n "$mtr_path" ] || exit 5
fi
[ ! -d "$mtr_path" ] || exit 4
mtr_word=new
if [ -e "$mtr_path" ]; then
  [ -f "$mtr_path" ] || exit 5
  mtr_word=replaced
  [ -n "$mtr_mode" ] ||
    mtr_mode=$(stat -c %a -- "$mtr_path" 2>/dev/null || stat -f %Lp -- "$mtr_path" 2>/dev/null)
fi
mkdir -p -- "${mtr_path%/*}" && cd -- "${mtr_path%/*}/" || exit 6
mtr_path=./${mtr_path##*/} mtr_new=./.mtr-put.$mtr_run
trap 'rm -f -- "$mtr_new"' EXIT
trap 'exit 7' HUP INT TERM PIPE
# Nobody else reads it before it has its mode.
(umask 077 && cat >"$mtr_new") || exit 6
[ "$(($(wc -c <"$mtr_new")))" -eq "$mtr_size" ] || exit 7
# Without a who, chmod leaves out what the umask does.
chmod "${mtr_mode:-=rw}" "$mtr_new" && mv -f -- "$mtr_new" "$mtr_path" || exit 6
echo "mtr-wrote $mtr_word"
