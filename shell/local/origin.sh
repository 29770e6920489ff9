#!/bin/sh
# Prints what the code is that a job is started with: git's commit, what has changed or is new, and every difference.
#
#   origin.sh DIRECTORY <NAMES
#
# NAMES are the paths that are synced, from DIRECTORY, each with a NUL behind it: nothing else goes into the patch, since
# what is left out of a sync is not the server's to know.
#
# Compressed, if gzip is here: what `git status --porcelain=v2 --branch` prints (git-status(1)), then an empty line, then a
# patch that `git apply` takes in DIRECTORY on that commit, cut after 16 MiB, then a line "mtr-end" behind a NUL. Without
# a repository, or without git, only the empty line and the end.

cd -- "$1" 2>/dev/null || exit 0
# What somebody has set for a git of their own would lead elsewhere.
unset GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_COMMON_DIR GIT_OBJECT_DIRECTORY GIT_NAMESPACE GIT_PREFIX GIT_EXTERNAL_DIFF
export GIT_OPTIONAL_LOCKS=0
ask_git() {
  git -c core.fsmonitor=false "$@"
}

# Prints those of the paths on stdin that are synced; a name with a newline is none of them.
keep_synced() {
  tr '\0' '\n' | awk 'FILENAME != "-" { synced[$0]; next } $0 in synced' "$names" - | tr '\n' '\0'
}

# Prints the patch. What git does not track yet is added to a copy of its index; what is in that copy does not matter,
# since the commit is compared with the files. Paths are named only where something is to be left out: git looks at each
# of them for each file.
print_patch() {
  base=HEAD
  # Before the first commit, against the empty tree.
  ask_git rev-parse -q --verify HEAD >/dev/null || base=$(ask_git hash-object -t tree /dev/null)
  index=$(ask_git rev-parse --git-path index)
  # With its time: git reads a file again that was changed in the very second of its index, which it cannot see else.
  [ ! -f "$index" ] || cp -p -- "$index" "$work/index"
  blob=$(ask_git hash-object -t blob /dev/null) prefix=$(ask_git rev-parse --show-prefix)
  ask_git ls-files -o --exclude-standard -z -- . | keep_synced | tr '\0' '\n' |
    PREFIX=$prefix awk -v b="$blob" '{ printf "100644 %s 0\t%s%s\n", b, ENVIRON["PREFIX"], $0 }' | tr '\n' '\0' >"$work/new"
  GIT_INDEX_FILE=$work/index
  export GIT_INDEX_FILE
  ask_git update-index -z --index-info <"$work/new"
  ask_git diff --name-only -z --relative --no-renames --diff-filter=d "$base" -- . >"$work/all"
  keep_synced <"$work/all" >"$work/synced"
  if cmp -s "$work/all" "$work/synced"; then
    [ ! -s "$work/all" ] || print_differences --diff-filter=d "$base" -- .
  elif [ -s "$work/synced" ]; then
    # shellcheck disable=SC2016  # expanded by the inner shell
    GIT_LITERAL_PATHSPECS=1 xargs -0 sh -c 'base=$1
      shift
      git -c core.fsmonitor=false diff --binary --relative --no-renames --no-color --no-ext-diff --no-textconv \
        --submodule=short --src-prefix=a/ --dst-prefix=b/ --diff-filter=d "$base" -- "$@"' sh "$base" <"$work/synced"
  fi
  # What was deleted, without what was in it: git apply takes that for a binary file, and asks for no more than its hash.
  print_differences --full-index --irreversible-delete --diff-filter=D "$base" -- . |
    awk '{ print } /^index / { print "Binary files differ" }'
}

print_differences() {
  ask_git diff --binary --relative --no-renames --no-color --no-ext-diff --no-textconv --submodule=short \
    --src-prefix=a/ --dst-prefix=b/ "$@"
}

print_origin() {
  if found=$(ask_git status --porcelain=v2 --branch --no-ahead-behind --untracked-files=all -- . 2>/dev/null); then
    printf '%s\n\n' "$found"
    if work=$(mktemp -d "${TMPDIR:-/tmp}/mtr-origin.XXXXXX"); then
      trap 'rm -rf "$work"' EXIT
      trap 'exit 1' HUP INT TERM
      names=$work/names
      tr '\0' '\n' >"$names"
      print_patch 2>/dev/null | head -c 16777216
    fi
  else
    echo
  fi
  printf '\n\000mtr-end\n'
}

if command -v gzip >/dev/null; then print_origin | gzip -c; else print_origin; fi
