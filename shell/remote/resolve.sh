#!/bin/sh
# shellcheck disable=SC2154  # within.sh sets what it says
# Says whether a path lies below the project's directory once all links are followed; within.sh stands in front.
#
#   set -- DIR PATH
#
# Leaves with 0, with 3 where there is nothing of that name, and else as find_path does.

find_path "$1" "$2" within
[ -e "$mtr_path" ] || exit 3
