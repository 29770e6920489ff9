#!/bin/sh
# The gate: what stands on the server between the login and the user's command.
#
# It enters the project's directory, sets the environment, runs pre_cmd, runs the command, and reports its
# exact status. It is sent whole with every run; nothing of it stays on the server. Lines that are comments
# are not sent.
#
#   set -- RUN DIR SUB PAYLOAD TOKEN SHELL PRE MODE ARGV...
#
#   RUN      random id of this run; this process shows as mtr-RUN in ps
#   DIR      the project's directory here; ~ or ~/ at its start means $HOME
#   SUB      directory below DIR to run in, or empty; with ./ in front it is to be there, and is not made
#   PAYLOAD  where the payload is. 0: there is none; v, x: in LC_MTR0 or XMODIFIERS, encoded for printf %b; f: in
#            the file ~/.mtr-in.RUN, as it is. It is sh text that sets mtr_env (exports, and a set -- for an ARGV
#            too long for the command line), and for a push mtr_push (the text of apply.sh), mtr_plan and mtr_tar
#   TOKEN    says what the tree must be when the command starts: .mtr/t.TOKEN is there. +TOKEN: a push beside this
#            run brings it, so wait; empty: run whatever the tree is
#   SHELL    what runs PRE and a MODE s command: auto (bash, else sh), a name or a path
#   PRE      text of pre_cmd, or empty; runs in DIR, the command then in DIR/SUB
#   MODE     a: ARGV is an argument vector, executed as it is; s: its one word is text for SHELL; e: its first word is a
#            script of ours for the other words, which finds mtr_home, mtr_no and mtr_token. It is evaluated here, and
#            behind a PRE executed by /bin/sh, with MTR_HOME, MTR_NO and MTR_TOKEN in their place
#
# When it refuses, it leaves the reason in ~/.mtr-no.RUN (a word, then the system's own words) and exits
# 125. mtr looks there on that status only.
#
# Assumptions:
# 1. Descriptor 9 is free: sshd closes everything above 2.
# 2. The shell's own remarks (Killed, Terminated) are not the command's stderr: they go to /dev/null.
# 3. A foreground subshell keeps stdin and the terminal's foreground group for the command; & would lose both.
# 4. Traps set to : are reset to default in the subshell, so only the gate outlives the signal that ends the
#    command, and can report it. HUP is not among them: when a terminal is lost, the kernel tells the gate, as
#    the session's leader, and its death is what tells the foreground group.
# 5. exec finds a program and never a builtin, as POSIX says. mksh's exec prefers its builtins; on a server
#    whose /bin/sh is mksh, echo and the like are those of the shell.

mtr_run=$1 mtr_dir=$2 mtr_sub=$3 mtr_in=$4 mtr_token=$5 mtr_shell=$6 mtr_pre=$7 mtr_mode=$8
shift 8
# The login's home, whatever the payload or pre_cmd make of HOME.
mtr_home=$HOME
mtr_no=$mtr_home/.mtr-no.$mtr_run
mtr_env='' mtr_push=''
exec 9>&2 2>/dev/null
# Ctrl-C on a terminal before the command has started has a status too.
trap 'exit 130' INT
trap 'exit 131' QUIT

no() {
  { printf '%s\n' "$@" >"$mtr_no"; } || printf 'mtr: %s\n' "$@" >&9
  exit 125
}

case $mtr_in in
  v) mtr_text=$LC_MTR0; unset LC_MTR0 ;;
  x) mtr_text=$XMODIFIERS; unset XMODIFIERS ;;
  f) mtr_text=$mtr_home/.mtr-in.$mtr_run ;;
esac
case $mtr_in in
  v | x)
    [ -n "$mtr_text" ] || no payload
    # What decodes it may be killed.
    mtr_text=$(printf %b "$mtr_text") || no payload
    eval "$mtr_text" || no payload
    ;;
  f)
    [ -f "$mtr_text" ] || no payload
    # shellcheck disable=SC1090
    . "$mtr_text" || no payload
    rm -f "$mtr_text"
    ;;
esac

case $mtr_dir in
  \~) mtr_dir=$mtr_home ;;
  \~/*) mtr_dir=$mtr_home/${mtr_dir#\~/} ;;
esac
mtr_root=$mtr_dir
enter() {
  case $mtr_sub in ./*) [ -d "$1" ] || no missing ;; esac
  [ -d "$1" ] || mkdir -p -- "$1" || no directory "$(mkdir -p -- "$1" 2>&1)"
  cd -- "$1" || no directory "$(cd -- "$1" 2>&1 || exit)"
}
# Tells whether a tree is there that holds the push $1: its own, or one that the same client has built on it.
is_there() {
  for mtr_f in .mtr/t.*; do
    [ "$mtr_f" != ".mtr/t.$1" ] || return 0
    if { read -r mtr_text && read -r mtr_text; } <"$mtr_f"; then
      case " $mtr_text " in *" $1 "*) return 0 ;; esac
    fi
  done
  return 1
}

# Waits until the push $1 is there. It has a session of its own, or another run's push has just taken its place:
# without the connection, or once nobody pushes any more, it will not come.
await() {
  mtr_i=0
  until is_there "$1"; do
    mtr_i=$((mtr_i + 1)) mtr_p=$PPID
    if [ $((mtr_i % 500)) -eq 0 ]; then
      mtr_p=
      for mtr_f in .mtr/busy.*; do read -r mtr_p mtr_text <"$mtr_f" || mtr_p=; done
    fi
    # Who has left this knows why, and looks for no reason.
    if [ -f ".mtr/no.$1" ]; then
      rm -f ".mtr/no.$1"
      exit 125
    fi
    if [ -z "$mtr_p" ] || ! kill -0 "$mtr_p" "$PPID"; then no token; fi
    sleep 0.02 || sleep 1
  done
}

if [ -n "$mtr_token" ]; then
  cd -- "$mtr_root" || no token
  if [ -n "$mtr_push" ]; then
    mtr_text=$(eval "$mtr_push" 2>&1) || no push "$?" "$mtr_text"
    case $mtr_text in *mtr-trash*) printf 'mtr: %s\n' 'what had changed on the server went to the trash there: mtr undo' >&9 ;; esac
  fi
  if [ -n "$mtr_push" ] || [ "$mtr_token" != "${mtr_token#+}" ]; then
    await "${mtr_token#+}"
  else
    [ -f ".mtr/t.$mtr_token" ] || no token
  fi
fi
mtr_dir=$mtr_dir${mtr_sub:+/$mtr_sub}
enter "$mtr_dir"
eval "$mtr_env" || no payload

# A terminal this server has never heard of (kitty, ghostty) would leave vim and less without one.
case ${TERM-} in
  '' | dumb | linux | vt100 | vt220 | xterm | xterm-color | xterm-256color | screen | screen-256color | tmux | tmux-256color) ;;
  *)
    if [ -t 0 ] && command -v infocmp >/dev/null; then
      infocmp "$TERM" >/dev/null || export TERM=xterm-256color
    fi
    ;;
esac

if [ "$mtr_mode" = e ] && [ -n "$mtr_pre" ]; then
  mtr_mode=a mtr_text=$1
  shift
  set -- /bin/sh -c "$mtr_text" mtr-script "$@"
  export MTR_HOME="$mtr_home" MTR_NO="$mtr_no" MTR_TOKEN="$mtr_token"
fi
case $mtr_mode$mtr_pre in
  a | e) ;;
  *)
    if [ "$mtr_shell" = auto ]; then
      mtr_shell='sh'
      if command -v bash >/dev/null; then mtr_shell=bash; fi
    fi
    command -v "$mtr_shell" >/dev/null || no shell "$mtr_shell"
    # bash takes SHLVL 0 with SSH_CLIENT set for a fresh login and reads .bashrc once more.
    export SHLVL=1
    ;;
esac

# Sets mtr_words to the arguments as single-quoted words.
quote() {
  mtr_words=
  for mtr_w; do
    mtr_q=
    while :; do
      case $mtr_w in
        *\'*) mtr_q=$mtr_q${mtr_w%%\'*}"'\\''" mtr_w=${mtr_w#*\'} ;;
        *) break ;;
      esac
    done
    mtr_words="$mtr_words '$mtr_q$mtr_w'"
  done
}

# PRE runs in the same shell as the command, so that what it activates stays active; what it prints is not
# the command's output, and what it reads is not the command's input. It sees no arguments, and so cannot
# change the command's. The command starts only once PRE has come to its end with 0: until then a refusal lies
# ready, which also an exec, a kill or a set -n in PRE leaves behind.
# shellcheck disable=SC2016  # expanded by the inner shell
mtr_before='mtr_no=$1 mtr_pre=$2 mtr_text=$3 mtr_sub=$4
shift 4
trap '\''mtr_s=$?; printf "%s\n" pre_cmd "$mtr_s" >"$mtr_no"; exit 125'\'' EXIT
eval "$mtr_pre" >&2 </dev/null && cd -- "${mtr_sub:-.}" && trap - EXIT && command rm -f "$mtr_no" || exit
eval "$mtr_text"'
if [ -n "$mtr_pre" ]; then
  if [ "$mtr_mode" = a ]; then
    quote "$@"
    set -- "exec$mtr_words"
  fi
  printf '%s\n' pre_cmd '' >"$mtr_no"
  enter "$mtr_root"
  if [ -n "$mtr_sub" ]; then mtr_sub=$mtr_dir; fi
  set -- "$mtr_shell" -c "$mtr_before" "$mtr_shell" "$mtr_no" "$mtr_pre" "$1" "$mtr_sub"
elif [ "$mtr_mode" = s ]; then
  # A text that begins with - is no option of the shell.
  case $1 in -*) set -- " $1" ;; esac
  set -- "$mtr_shell" -c "$1"
fi

# Says what the shell's own exec would say with this script's name and line number in front of it.
missing() {
  printf 'mtr: %s: %s on the server\n' "$1" "$2" >&9
  exit "$3"
}

# Leaves with 127 or 126 unless $1 is a program that exec will find. Runs in the command's subshell only,
# since it changes IFS.
find_program() {
  case $1 in
    */*)
      [ -e "$1" ] || missing "$1" 'no such file' 127
      if [ -d "$1" ] || [ ! -x "$1" ]; then missing "$1" 'not executable' 126; fi
      return
      ;;
  esac
  set -f
  IFS=:
  for mtr_d in $PATH; do
    if [ -f "${mtr_d:-.}/$1" ] && [ -x "${mtr_d:-.}/$1" ]; then return; fi
  done
  missing "$1" 'command not found' 127
}

trap : INT QUIT TERM
# exec runs the program and never a builtin of this shell: mtr echo -n is /bin/echo -n, as an argv means.
(
  if [ "$mtr_mode" = e ]; then
    exec 2>&9 9>&-
    mtr_text=$1
    shift
    eval "$mtr_text"
    exit
  fi
  find_program "$1"
  set +f
  unset IFS
  exec 2>&9 9>&-
  case $1 in
    -*) "$@" ;;
    *) exec "$@" ;;
  esac
)
mtr_s=$?
# ksh reports death by signal n as 256+n, everyone else as 128+n.
[ "$mtr_s" -le 255 ] || mtr_s=$((mtr_s - 128))
if [ -n "$mtr_pre" ] && [ -f "$mtr_no" ]; then mtr_s=125; fi
exit "$mtr_s"
