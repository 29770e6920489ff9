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

# Prints those of the paths on stdin, a line each, that are synced; a name with a newline is none of them.
keep_synced() {
  awk 'FILENAME != "-" { synced[$0]; next } $0 in synced' "$names" -
}

# Prints the patch; the word $1 tells whether there is anything that git does not track yet. That is added to a copy of its
# index; what is in that copy does not matter, since the commit is compared with the files. Paths are named only where
# something is to be left out: git looks at each of them for each file.
print_patch() {
  { read -r format && read -r index && read -r prefix; } <<FACTS
$(ask_git rev-parse --show-object-format --git-path index --show-prefix)
FACTS
  # The hashes of nothing at all, as a file and as a directory (git hash-object /dev/null).
  blob=e69de29bb2d1d6434b8b29ae775ad8c2e48c5391 base=4b825dc642cb6eb9a060e54bf8d69288fbee4904
  if [ "$format" = sha256 ]; then
    blob=473a0f4c3be8a93681a267e3b1e9a7dcda1185436fe141f7749120a303721813
    base=6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321
  fi
  # Before the first commit, against the empty tree.
  case $found in *'# branch.oid (initial)'*) ;; *) base=HEAD ;; esac
  if [ "$1" = new ]; then
    # With its time: git reads a file again that was changed in the very second of its index, which it cannot see else.
    [ ! -f "$index" ] || cp -p -- "$index" "$work/index"
    GIT_INDEX_FILE=$work/index
    ask_git ls-files -o --exclude-standard -z -- . | tr '\0' '\n' | keep_synced |
      PREFIX=$prefix awk -v b="$blob" '{ printf "100644 %s 0\t%s%s\n", b, ENVIRON["PREFIX"], $0 }' | tr '\n' '\0' >"$work/new"
    export GIT_INDEX_FILE
    ask_git update-index -z --index-info <"$work/new"
  fi
  ask_git diff --name-only -z --relative --no-renames --diff-filter=d "$base" -- . | tr '\0' '\n' >"$work/all"
  # Another status than 0: something is left out.
  if awk 'FILENAME != ARGV[2] { synced[$0]; next } !($0 in synced) { exit 1 }' "$names" "$work/all"; then
    [ ! -s "$work/all" ] || print_differences --diff-filter=d "$base" -- .
  else
    # shellcheck disable=SC2016  # expanded by the inner shell
    keep_synced <"$work/all" | tr '\n' '\0' | GIT_LITERAL_PATHSPECS=1 xargs -0 sh -c 'base=$1
      shift
      [ $# = 0 ] || git -c core.fsmonitor=false diff --binary --relative --no-renames --no-color --no-ext-diff --no-textconv \
        --submodule=short --src-prefix=a/ --dst-prefix=b/ --diff-filter=d "$base" -- "$@"' sh "$base"
  fi
  # What was deleted, without what was in it: git apply takes that for a binary file, and asks for no more than its hash.
  case $found in
    *"
1 "[!\ ]D\ * | *"
1 D"* | *"
"[2u]" "*)
      print_differences --full-index --irreversible-delete --diff-filter=D "$base" -- . |
        awk '{ print } /^index / { print "Binary files differ" }'
      ;;
  esac
}

print_differences() {
  ask_git diff --binary --relative --no-renames --no-color --no-ext-diff --no-textconv --submodule=short \
    --src-prefix=a/ --dst-prefix=b/ "$@"
}

# The patch, if the state $found tells of any change.
print_changes() {
  case $found in
    *"
? "*) print_patch new ;;
    *"
"[12u]" "*) print_patch '' ;;
  esac
}

print_origin() {
  if found=$(ask_git status --porcelain=v2 --branch --no-ahead-behind --untracked-files=all -- . 2>/dev/null); then
    printf '%s\n\n' "$found"
    if work=$(mktemp -d "${TMPDIR:-/tmp}/mtr-origin.XXXXXX"); then
      trap 'rm -rf "$work"' EXIT
      trap 'exit 1' HUP INT TERM
      names=$work/names
      tr '\0' '\n' >"$names"
      print_changes 2>/dev/null | head -c 16777216
    fi
  else
    echo
  fi
  printf '\n\000mtr-end\n'
}

if command -v gzip >/dev/null; then print_origin | gzip -c; else print_origin; fi
