#!/bin/sh
# shellcheck disable=SC2154  # start.sh sets what it reads
# Makes the copy of the project that a job runs in. Stands in front of start.sh, for jobs with a copy only.
#
# What was synced is copied: as the record of this client tells it, while the token says that the tree is the one that
# the client has seen. Whatever else lies in the directories of those files (data, results, caches) is linked to: a
# symbolic link to the project's own, and a directory of its own where that is empty.
#
# Assumptions:
# 1. No hard links: they would change what the record says of the files (their ctime), and a job that writes into a file
#    would write into the project's. Where the file system can share blocks, GNU cp lets it.
# 2. A push takes the token away before it changes anything and leaves another; what gives the same token back (undo,
#    list.sh) has written itself into it. So a token with the same first line before and after has seen one tree.
# 3. A name with a newline is on no line of the record; apply.sh leaves odd.CLIENT where one was put.

# Sets mtr_tree_at to the token's file of a tree that holds what was synced, and mtr_by to its first line; waits for
# whoever changes the tree just now.
find_tree() {
  mtr_i=0
  while :; do
    for mtr_tree_at in .mtr/t.*; do
      [ -f "$mtr_tree_at" ] || continue
      mtr_by='' mtr_of=
      { read -r mtr_by && read -r mtr_of; } 2>/dev/null <"$mtr_tree_at"
      case "${mtr_tree_at#.mtr/t.} $mtr_of " in *"$mtr_token "*) return 0 ;; esac
    done
    mtr_busy=
    for mtr_f in .mtr/busy.*; do [ ! -f "$mtr_f" ] || mtr_busy=yes; done
    mtr_i=$((mtr_i + 1))
    if [ -z "$mtr_busy" ] || [ "$mtr_i" -gt 300 ]; then return 1; fi
    sleep 0.1 2>/dev/null || sleep 1
  done
}

# Copies into the directory $1 what is on the lines of the record that stands here still.
copy_files() {
  cp -- "$mtr_put" "$mtr_job/manifest" || return 1
  # shellcheck disable=SC2016  # expanded by the inner shell
  LC_ALL=C sed -n 's/^[0-9]*:[^|]*|\(\.\/\)/\1/p' "$mtr_job/manifest" | LC_ALL=C sort -u | tr '\n' '\0' |
    xargs -0 sh -c '[ $# = 0 ] || exec find "$@" -prune "(" -type f -o -type l ")" -print' mtr-find \
      >"$mtr_job/list" 2>/dev/null
  if cp --version 2>/dev/null | grep -q GNU; then
    # shellcheck disable=SC2016
    mtr_text='to=$1; shift; [ $# = 0 ] || exec cp -dp --reflink=auto --parents -t "$to" -- "$@"'
  else
    # Not every tar reads a list, or leaves the names on it as they are.
    # shellcheck disable=SC2016
    mtr_text='to=$1; shift; [ $# = 0 ] || { tar cf - "$@" || printf x >"$to.failed"; } | (cd "$to" && tar xpf -)'
  fi
  tr '\n' '\0' <"$mtr_job/list" | xargs -0 sh -c "$mtr_text" mtr-copy "$1" || return 1
  if [ -f ".mtr/odd.$mtr_client" ]; then
    mtr_newline='
'
    find . -path ./.mtr -prune -o -path "*$mtr_newline*" '(' -type f -o -type l ')' \
      -exec sh -c "$mtr_text" mtr-copy "$1" {} + || return 1
  fi
  [ ! -f "$1.failed" ]
}

# Links, in each directory of the copy $1, to what the project has there besides.
link_rest() {
  # shellcheck disable=SC2016
  (cd -- "$1" && find . -type d -exec sh -c '
    mtr_tree=$1
    shift
    flush() { [ $# -lt 2 ] || { mtr_to=$1 && shift && ln -s -- "$@" "$mtr_to/"; }; }
    is_empty() {
      for mtr_e in "$1"/* "$1"/.[!.]* "$1"/..?*; do
        if [ -e "$mtr_e" ] || [ -L "$mtr_e" ]; then return 1; fi
      done
    }
    link_in() {
      mtr_d=$1
      set -- "$mtr_d"
      for mtr_f in "$mtr_tree/$mtr_d"/* "$mtr_tree/$mtr_d"/.[!.]* "$mtr_tree/$mtr_d"/..?*; do
        mtr_n=$mtr_d/${mtr_f##*/}
        if [ -e "$mtr_n" ] || [ -L "$mtr_n" ]; then continue; fi
        case $mtr_n in ./.mtr | */__pycache__) continue ;; esac
        if [ -d "$mtr_f" ] && [ ! -L "$mtr_f" ] && is_empty "$mtr_f"; then
          mkdir -- "$mtr_n" || return 1
        elif [ -e "$mtr_f" ] || [ -L "$mtr_f" ]; then
          set -- "$@" "$mtr_f"
          if [ $# -gt 200 ]; then
            flush "$@" || return 1
            set -- "$mtr_d"
          fi
        fi
      done
      flush "$@"
    }
    for mtr_dir; do link_in "$mtr_dir" || exit 1; done' mtr-link "$mtr_tree" {} +)
}

# Makes the copy $1 of the project; leaves with 4 where the tree is another one than was synced.
copy_tree() (
  cd -- "$mtr_tree" || exit 1
  mtr_rounds=0
  while [ "$mtr_rounds" -lt 5 ]; do
    mtr_rounds=$((mtr_rounds + 1))
    find_tree || exit 4
    mtr_before=$mtr_tree_at:$mtr_by mtr_copied=yes
    rm -rf -- "$1" "$1.failed" && mkdir -- "$1" || exit 1
    mtr_words=$({ copy_files "$1" && link_rest "$1"; } 2>&1) || mtr_copied=
    mtr_by='' mtr_of=
    { read -r mtr_by && read -r mtr_of; } 2>/dev/null <"$mtr_tree_at"
    if [ -f "$mtr_tree_at" ] && [ "$mtr_tree_at:$mtr_by" = "$mtr_before" ]; then
      [ -z "$mtr_copied" ] || exit 0
      printf '%s\n' "$mtr_words" | head -n 5 >&2
      exit 1
    fi
  done
  exit 4
)
