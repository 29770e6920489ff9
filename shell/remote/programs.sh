#!/bin/sh
# Prints the names of the programs on PATH, one a line, for completion; an empty line is the end.
rest=$PATH:
while [ -n "$rest" ]; do
  directory=${rest%%:*} rest=${rest#*:}
  [ -n "$directory" ] || continue
  for file in "$directory"/*; do
    if [ -f "$file" ] && [ -x "$file" ]; then printf '%s\n' "${file##*/}"; fi
  done
done
echo
