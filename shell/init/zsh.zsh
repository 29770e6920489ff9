# mtr in zsh: functions and completion. Evaluated behind lists of names: see bash.bash.
#
# It must survive the user's options (NO_UNSET, KSH_ARRAYS, SH_WORD_SPLIT, ERR_EXIT, ALIASES), being evaluated twice, and
# a compinit that comes later, or never: without it, the older compctl completes the same.

_mtr_run() { command "${_mtr_program[@]}" "$@" }

_mtr_define() { # NAME [WORD]...: NAME becomes a function that runs mtr with these words in front
  emulate -L zsh
  local name=$1
  shift
  case $name in ('' | *[^A-Za-z0-9_.@+-]*) return 0 ;; esac
  unalias -- $name 2>/dev/null || :
  eval "function $name { _mtr_run ${(j: :)${(@q)@}} \"\$@\" }"
}

_mtr_ask() { # WORD...: the answer of mtr, as lines, into the array `lines`
  lines=("${(@f)$(_mtr_run shell-init --complete zsh "$@" </dev/null 2>/dev/null)}")
}

_mtr_complete() {
  local -a lines values shown
  local line
  _mtr_ask "${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}"
  case ${lines[1]-} in
  (files)
    if [[ $PREFIX = --*=* ]]; then compset -P '*='; fi
    _files
    ;;
  (dirs)
    if [[ $PREFIX = --*=* ]]; then compset -P '*='; elif [[ $PREFIX = -C?* ]]; then compset -P '-C'; fi
    _files -/
    ;;
  (paths)
    values=(${(M)lines[2,-1]:#*/})
    compadd -S '' -a values
    values=(${lines[2,-1]:#*/})
    compadd -a values
    ;;
  (names)
    for line in "${(@)lines[2,-1]}"; do
      if [[ $line = *$'\t'* ]]; then
        values+=("${line%%$'\t'*}")
        shown+=("${(r:18:)line%%$'\t'*} -- ${line#*$'\t'}")
      fi
    done
    compadd -l -d shown -a values
    values=(${(M)lines[2,-1]:#*=})
    compadd -S '' -a values
    values=(${${lines[2,-1]:#*$'\t'*}:#*=})
    compadd -a values
    ;;
  esac
}

_mtr_compctl() {
  emulate -L zsh
  local -a words lines
  local -i at
  read -cA words
  read -cn at
  _mtr_ask "${(@Q)words[1,at-1]}" "${(Q)1}"
  reply=()
  case ${lines[1]-} in (names | paths) reply=("${(@)lines[2,-1]%%$'\t'*}") ;; esac
}

_mtr_register() { # before each prompt, until there is a compdef
  emulate -L zsh
  if (( ! ${+functions[compdef]} )); then return 0; fi
  compdef _mtr_complete $_mtr_completed
  precmd_functions=(${precmd_functions:#_mtr_register})
}

_mtr_start() {
  emulate -L zsh
  local name
  typeset -ga _mtr_completed precmd_functions
  _mtr_completed=($_mtr_commands)
  for name in $_mtr_servers; do
    _mtr_define mtr-$name -s $name
    _mtr_completed+=(mtr-$name)
  done
  for name in $_mtr_aliases; do
    if ! whence -- $name >/dev/null; then _mtr_define $name $name; fi
  done
  for name in $_mtr_short; do
    _mtr_define $name
    _mtr_completed+=($name)
  done
  if (( ! ${+functions[compdef]} )); then
    compctl -K _mtr_compctl + -f $_mtr_completed
    precmd_functions=(${precmd_functions:#_mtr_register} _mtr_register)
  fi
  _mtr_register
}

_mtr_start
unfunction _mtr_start _mtr_define
