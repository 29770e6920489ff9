#!/bin/sh
# Prints the paths that begin with what was typed, one a line, directories with a slash at the end, for completion; an empty line is the end.
# $1: the project's directory, from which relative paths count, absolute or ~/...; $2: what was typed.
place() { # PATH
  case $1 in
  \~) printf '%s\n' "$HOME" ;;
  \~/*) printf '%s\n' "$HOME/${1#??}" ;;
  *) printf '%s\n' "$1" ;;
  esac
}
newline='
'
typed=$2
shown=${typed%"${typed##*/}"}
case $typed in
/* | \~/*) folder=$(place "$shown") ;;
*) folder=$(place "$1")/$shown ;;
esac
for path in "${folder%/}/${typed##*/}"*; do
  [ -e "$path" ] || [ -L "$path" ] || continue
  case $path in *"$newline"*) continue ;; esac
  name=$shown${path##*/}
  if [ -d "$path" ]; then name=$name/; fi
  printf '%s\n' "$name"
done
echo
