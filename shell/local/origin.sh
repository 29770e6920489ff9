#!/bin/sh
# Prints what the code is that a job is started with: git's commit, what has changed or is new, and every difference.
#
#   origin.sh DIRECTORY
#
# First what `git status --porcelain=v2 --branch` prints (git-status(1)), then an empty line, then a patch that `git apply`
# takes on that commit. Nothing where there is no repository, or no git.

cd -- "$1" 2>/dev/null || exit 0
export GIT_OPTIONAL_LOCKS=0
found=$(git status --porcelain=v2 --branch --no-ahead-behind 2>/dev/null) || exit 0
printf '%s\n\n' "$found"
case $found in
  *'
1 '* | *'
2 '* | *'
u '*) git diff --binary --no-ext-diff --no-textconv HEAD | head -c 67108864 ;;
esac
