#!/bin/sh
# Brings back what the newest push that replaced or deleted something had sent to the trash.
#
#   set -- DIR RUN
#
#   DIR  the project's directory here; ~/ at its start means $HOME
#   RUN  random id of this run
#
# Prints "mtr-from DIRECTORY", the trash it comes from, "mtr-back PATH" for each thing brought back, names with a newline shown with ?, then "mtr-done". What
# stood in its place goes to a trash of its own, so that an undo can be undone. Leaves with 3 when there is nothing
# to bring back, 5 when a push does not end.
#
# Assumptions:
# 1. The lock is the token, as in apply.sh, and gets its name back: what the client has put there has not changed.

mtr_dir=$1 mtr_run=$2
case $mtr_dir in \~/*) mtr_dir=$HOME/${mtr_dir#\~/} ;; esac
cd -- "$mtr_dir" || exit 3
# No link is followed: see apply.sh.
for mtr_f in .mtr .mtr/* .mtr/trash/*; do
  if [ -L "$mtr_f" ]; then
    echo "$PWD/$mtr_f is a symbolic link, and nothing is written through it: remove it" >&2
    exit 1
  fi
done
[ -d .mtr/trash ] || exit 3
mtr_boot=
read -r mtr_boot 2>/dev/null </proc/sys/kernel/random/boot_id || mtr_boot=$(uname -n)
mtr_token='' mtr_i=0
while [ -z "$mtr_token" ]; do
  for mtr_f in .mtr/t.*; do
    if [ -f "$mtr_f" ] && mv -- "$mtr_f" ".mtr/busy.$mtr_run" 2>/dev/null; then
      mtr_token=$mtr_f
      break
    fi
  done
  mtr_i=$((mtr_i + 1))
  [ -n "$mtr_token" ] || [ "$mtr_i" -lt 100 ] || exit 5
  [ -n "$mtr_token" ] || sleep 0.1 2>/dev/null || sleep 1
done
mtr_of=
# shellcheck disable=SC2034  # the first line is about to be another
{ read -r mtr_line && read -r mtr_of; } <".mtr/busy.$mtr_run" || mtr_of=
printf '%s\n' "$$ $mtr_boot" "$mtr_of" >".mtr/busy.$mtr_run"
mtr_from=
for mtr_f in .mtr/trash/*; do
  [ ! -d "$mtr_f" ] || mtr_from=$mtr_f
done
if [ -z "$mtr_from" ]; then
  mv -- ".mtr/busy.$mtr_run" "$mtr_token"
  exit 3
fi

mtr_to=${mtr_from##*/}
mtr_to=.mtr/trash/$((${mtr_to%%-*} + 1))-$(date -u +%Y%m%dT%H%M%SZ)-$mtr_run
mtr_newline='
'
export mtr_from mtr_to mtr_newline
echo
echo "mtr-from $mtr_from"
# Each path of the trash: what stands in its place is kept, then it goes back.
# shellcheck disable=SC2016  # expanded by the inner shell
(cd -- "$mtr_from" && find . ! -type d -exec sh -c '
  cd ../../.. || exit
  for f; do
    # From the top: a link on the way leads out of the tree, to files that are not of it.
    p=. r=${f%/*}
    r=${r#.}
    while [ -n "$r" ]; do
      r=${r#/}
      p=$p/${r%%/*}
      if [ -L "$p" ] || { [ -e "$p" ] && [ ! -d "$p" ]; }; then
        mkdir -p -- "$mtr_to/${p%/*}" && mv -- "$p" "$mtr_to/$p" || exit
      fi
      case $r in */*) r=/${r#*/} ;; *) r= ;; esac
    done
    if [ -e "$f" ] || [ -L "$f" ]; then
      mkdir -p -- "$mtr_to/${f%/*}" && mv -- "$f" "$mtr_to/$f" || exit
    fi
    [ -d "${f%/*}" ] || mkdir -p -- "${f%/*}" || exit
    mv -- "$mtr_from/$f" "$f" || exit
    case $f in
      *"$mtr_newline"*) printf "mtr-back %s\n" "$(printf %s "${f#./}" | tr "\n" "?")" ;;
      *) printf "mtr-back %s\n" "${f#./}" ;;
    esac
  done' mtr-undo {} +)
mtr_s=$?
if [ "$mtr_s" -eq 0 ]; then rm -rf -- "$mtr_from"; fi
mv -- ".mtr/busy.$mtr_run" "$mtr_token" || exit 1
[ "$mtr_s" -eq 0 ] || exit 1
echo mtr-done
