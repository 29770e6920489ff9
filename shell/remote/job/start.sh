#!/bin/sh
# Starts a job: what goes on when its client has gone. It stands where a run's command would stand: behind the gate, in
# the project's directory, with the job's environment around it.
#
#   set -- ID ABOUT KEEPER STOP TREE CLIENT OPTIONS ARGV...
#
#   ID       of the job: hexadecimal digits, drawn by the client
#   ABOUT    what the client wants to know of it later: one line of JSON
#   KEEPER   the text of keeper.sh, which stays with the job to its end
#   STOP     the text of stop.sh for a job that has a time, else empty
#   TREE     the project's directory for a job that runs in a copy of it, else empty; ~/ at its start is the home
#   CLIENT   whose record says what of it was synced: see apply.sh
#   OPTIONS  for the keeper: words NAME=VALUE, parted by blanks
#
# stdin is kept beside the job as "origin": the client's commit and its differences, compressed.
# Prints the id once the job goes on by itself; leaves with 1 and the system's words on stderr when it cannot.
#
# On disk, in ~/.mtr/jobs/ID (see list.sh for who reads it):
#   about            ABOUT
#   keeper, stop     KEEPER: what the job's first process shows in ps; STOP
#   queued, running, or ended.STATUS.SECONDS.WHY
#                    one file that is renamed, since a rename takes no space on a full disk. It holds the keeper's
#                    "PID START BOOT SINCE", where SINCE is when it began, and in a second line when the command did.
#                    STATUS as a shell reports it, SECONDS since the epoch, WHY is exit, stopped, timeout or failed
#   out, err         what the job prints, as it is
#   origin           stdin
#   tree             the copy: what was synced, and a symbolic link to whatever else lies at the top of the project
#   gpus, wants      what was pinned; since when GPUs are waited for (queue.sh)
#
# Assumptions:
# 1. MTR_HOME is the login's home, from the gate: what pre_cmd makes of HOME is the job's.
# 2. The directory is made under another name and renamed: a job is there with all of it, or not there.
# 3. setsid(1) of util-linux knows -f, and leaves INT and QUIT to the job, as perl does. busybox's has no -f, and starts
#    the program in a child where it leads a group. Without any, the job has a process group of its own.

mtr_id=$1 mtr_about=$2 mtr_keeper=$3 mtr_stop=$4 mtr_tree=$5 mtr_client=$6 mtr_options=$7
shift 7
mtr_jobs=${MTR_HOME:-$HOME}/.mtr/jobs
case $mtr_tree in \~/*) mtr_tree=${MTR_HOME:-$HOME}/${mtr_tree#\~/} ;; esac
unset MTR_HOME
mtr_new=$mtr_jobs/.new.$mtr_id mtr_job=$mtr_jobs/$mtr_id

# A shell's own words for a full disk are no more than "I/O error".
fail() {
  printf 'mtr: %s cannot be written on the server; what is free there:\n' "$mtr_jobs"
  df -k -- "$mtr_jobs"
  exit 1
} >&2
refuse() {
  rm -rf -- "$mtr_new"
  fail
}
trap refuse HUP INT TERM

# Makes the copy of $mtr_tree in $1. No hard links: they would change what the project's record says of the files (their
# ctime), and a job that writes into a file would write into the project's. Where the file system can, nothing is copied.
link_tree() {
  mkdir -- "$1" || return 1
  (
    cd -- "$mtr_tree" || exit 1
    cut -d '|' -f 2- ".mtr/put.$mtr_client" | sort -u | while IFS= read -r mtr_f; do
      if [ -f "$mtr_f" ] || [ -L "$mtr_f" ]; then printf '%s\n' "$mtr_f"; fi
    done >"$mtr_new/list"
    if cp --version 2>/dev/null | grep -q GNU; then
      tr '\n' '\0' <"$mtr_new/list" | xargs -0 -r cp -dp --reflink=auto --parents -t "$1" --
    else
      tar cf - -T "$mtr_new/list" | (cd -- "$1" && tar xpf -)
    fi || exit 1
    for mtr_f in * .[!.]* ..?*; do
      if [ "$mtr_f" = .mtr ] || [ -e "$1/$mtr_f" ] || [ -L "$1/$mtr_f" ]; then continue; fi
      if [ -e "$mtr_f" ] || [ -L "$mtr_f" ]; then ln -s -- "$PWD/$mtr_f" "$1/$mtr_f" || exit 1; fi
    done
    rm -f -- "$mtr_new/list"
  )
}
[ -d "$mtr_jobs" ] || mkdir -p -- "$mtr_jobs" || fail
mkdir -m 700 -- "$mtr_new" || fail
{
  printf '%s\n' "$mtr_about" >"$mtr_new/about" && printf '%s\n' "$mtr_keeper" >"$mtr_new/keeper" &&
    { [ -z "$mtr_stop" ] || printf '%s\n' "$mtr_stop" >"$mtr_new/stop"; } &&
    : >"$mtr_new/queued" && : >"$mtr_new/out" && : >"$mtr_new/err" &&
    { [ -z "$mtr_tree" ] || link_tree "$mtr_new/tree"; } && mv -- "$mtr_new" "$mtr_job"
} || refuse
if [ -n "$mtr_tree" ]; then
  # The same place in the copy.
  case $PWD in "$mtr_tree"/*) mtr_sub=${PWD#"$mtr_tree"} ;; *) mtr_sub= ;; esac
  mkdir -p -- "$mtr_job/tree$mtr_sub" && cd -- "$mtr_job/tree$mtr_sub" || exit 1
fi
trap - HUP INT TERM

# Where the manager of user sessions ends what a login has left, the user's own manager keeps it, if it lingers.
mtr_scope=
if [ -d /run/systemd/system ] && [ -e "/var/lib/systemd/linger/$(id -un)" ]; then
  : "${XDG_RUNTIME_DIR:=/run/user/$(id -u)}"
  export XDG_RUNTIME_DIR
  systemd-run --user --scope --quiet true && mtr_scope="systemd-run --user --scope --quiet --collect --unit=mtr-job-$mtr_id --"
fi 2>/dev/null
export MTR_JOB="$mtr_id"
# shellcheck disable=SC2086  # words of ours
set -- $mtr_scope /bin/sh "$mtr_job/keeper" "$mtr_options" "$@"
# Only where there is neither of the first two: what a shell starts with & ignores INT and QUIT for good.
{
  setsid -f "$@" || perl -MPOSIX=setsid -e 'exit if fork; setsid(); exec(@ARGV)' -- "$@" || {
    command -v setsid || set -m
    $(command -v setsid) "$@" &
  }
} </dev/null >/dev/null 2>&1
cat >"$mtr_job/origin"
printf '%s\n' "$mtr_id"
