#!/bin/sh
# shellcheck disable=SC2154  # start.sh sets where the job's directory is made
# Lets start.sh, in front of which it stands, start a job that has a terminal of its own.
#
#   set -- PYTHON SCRIPT SIZE TERM ...      and behind these what start.sh takes
#
#   PYTHON, SCRIPT  the texts of terminal.py and terminal_script.sh
#   SIZE            "ROWS COLUMNS"
#   TERM            the terminal's type
#
# A job with a terminal has in its directory, besides what start.sh says:
#   terminal         PYTHON or SCRIPT
#   in               a FIFO: what is written to it is typed; err stays empty
#   tty              the name of the terminal
#
# Leaves with 125 and a word on stderr where there is neither python3 nor script(1) of util-linux.

mtr_python=$1 mtr_script=$2
export MTR_SIZE="$3" TERM="$4" MTR_TERMINAL=
shift 4
if command -v infocmp >/dev/null; then
  infocmp "$TERM" >/dev/null 2>&1 || TERM=xterm-256color
fi
for mtr_word in python3 /usr/libexec/platform-python; do
  if "$mtr_word" -IS -c 'import fcntl, pty, select, signal, struct, sys, termios; sys.exit(sys.version_info < (3, 6))'; then
    MTR_TERMINAL="$mtr_word -IS"
    break
  fi
done </dev/null >/dev/null 2>&1
if [ -z "$MTR_TERMINAL" ]; then
  case $(script --version 2>/dev/null </dev/null) in
    *util-linux*) MTR_TERMINAL=/bin/sh mtr_python=$mtr_script ;;
    *)
      echo "mtr: a job with a terminal needs python3 or script(1) of util-linux on the server; it did not start" >&2
      echo "     try: install one of them there, or start it without --pty" >&2
      exit 125
      ;;
  esac
fi
make_terminal() {
  printf '%s\n' "$mtr_python" >"$mtr_job/terminal" && { [ -p "$mtr_job/in" ] || mkfifo -m 600 "$mtr_job/in"; }
}
