#!/bin/sh
# shellcheck disable=SC2154  # life.sh sets what it says
# Tells of one job all that list.sh does not; life.sh stands in front.
#
#   set -- ID LIMIT
#
#   LIMIT  how many bytes of the origin to print at most
#
# Prints lines "NAME VALUE": directory, the job's own; tree, where it has a copy; gpus; manifest, how many lines; kib, what
# it takes on the disk; then "origin" and behind it the bytes of that, as the client has sent them. Leaves with 3 where
# there is no such job.

# What an rc file has printed may lack the end of its line.
echo
case $1 in *[!0-9a-f]* | '') exit 3 ;; esac
cd -- "$HOME/.mtr/jobs/$1" 2>/dev/null || exit 3
find_keeper .
is_made . || exit 3
printf 'directory %s\n' "$PWD"
[ ! -d tree ] || printf 'tree %s\n' "$PWD/tree"
[ ! -f gpus ] || printf 'gpus %s\n' "$(cat gpus)"
mtr_kib=$(du -sk . 2>/dev/null)
printf 'kib %s\n' "${mtr_kib%%[!0-9]*}"
# The client of a job that has just been started may be telling still.
mtr_i=0
while [ ! -f origin ] && [ "$mtr_i" -lt 100 ] && [ -n "$(find about -mmin -1 2>/dev/null)" ]; do
  mtr_i=$((mtr_i + 1))
  sleep 0.05 2>/dev/null || sleep 1
done
[ ! -f manifest ] || printf 'manifest %s\n' "$(sed 's/^[^|]*|//' manifest | sort -u | grep -c .)"
echo origin
for mtr_f in origin origin.new; do
  if [ -f "$mtr_f" ]; then
    head -c "$2" "$mtr_f"
    break
  fi
done
exit 0
