# mtr in bash, 3.2 and newer: functions and completion. Evaluated behind lists of names, which `mtr shell-init` quotes:
#   _mtr_program  the words that start mtr          _mtr_servers  servers of the user's own configuration
#   _mtr_commands the names under which it is typed _mtr_aliases  its aliases
#   _mtr_short    the name of a short form, or none
#
# It must survive `set -eu`, in which an empty list is an unset variable in bash 4.3 and older, and being evaluated twice.

# shellcheck disable=SC2154  # The lists stand in front of this file.
_mtr_run() { command "${_mtr_program[@]}" "$@"; }

# The name has no character that means anything to a shell; that is checked here once more, since it is evaluated.
_mtr_define() { # NAME [WORD]...: NAME becomes a function that runs mtr with these words in front
  local name=$1 words=
  shift
  case $name in '' | *[!A-Za-z0-9_.@+-]*) return 0 ;; esac
  if [ $# != 0 ]; then words=$(printf ' %q' "$@"); fi
  unalias "$name" 2>/dev/null || :
  eval "function $name { _mtr_run$words \"\$@\"; }"
}

_mtr_complete() {
  local kind='' line reply
  COMPREPLY=()
  reply=$(_mtr_run shell-init --complete bash "${COMP_LINE:0:COMP_POINT}" "$COMP_WORDBREAKS" </dev/null 2>/dev/null) || :
  while IFS= read -r line; do
    if [ -z "$kind" ]; then kind=$line; elif [ -n "$line" ]; then COMPREPLY[${#COMPREPLY[@]}]=$line; fi
  done <<<"$reply"
  # Where a list is empty, readline goes on to files, unless that is turned off; bash 3.2 cannot.
  if type compopt >/dev/null 2>&1; then
    case $kind in
    dirs) compopt +o default +o bashdefault -o dirnames ;;
    names | paths) compopt +o default +o bashdefault ;;
    esac
    if [ ${#COMPREPLY[@]} = 1 ]; then case ${COMPREPLY[0]} in *[/=]) compopt -o nospace ;; esac; fi
  fi
  return 0
}

_mtr_start() {
  local name
  local -a completed
  completed=("${_mtr_commands[@]}")
  # In POSIX mode a function's name has no hyphen.
  case :$SHELLOPTS: in
  *:posix:*) ;;
  *)
    for name in ${_mtr_servers[@]+"${_mtr_servers[@]}"}; do
      _mtr_define "mtr-$name" -s "$name"
      completed[${#completed[@]}]=mtr-$name
    done
    ;;
  esac
  for name in ${_mtr_aliases[@]+"${_mtr_aliases[@]}"}; do
    if ! type "$name" >/dev/null 2>&1; then _mtr_define "$name" "$name"; fi
  done
  for name in ${_mtr_short[@]+"${_mtr_short[@]}"}; do
    _mtr_define "$name"
    completed[${#completed[@]}]=$name
  done
  # A bash without readline has no `complete`.
  if type complete >/dev/null 2>&1; then complete -o bashdefault -o default -F _mtr_complete -- "${completed[@]}"; fi
}

_mtr_start
unset -f _mtr_start _mtr_define
