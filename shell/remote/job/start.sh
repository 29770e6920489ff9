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
#   TREE     the project's directory, empty without a project; ~/ at its start is the home
#   CLIENT   whose record says what of it was synced: see apply.sh
#   OPTIONS  words NAME=VALUE, parted by blanks. For the keeper, but for copy=must and copy=try: the job runs in a copy of
#            TREE, by copy.sh, which then stands in front; try: where nothing was ever synced, it runs in TREE itself.
#            With gpus=N, life.sh and gpus.sh stand in front as well, and it is refused where there are fewer; with pty,
#            terminal.sh does
#
# stdin is kept beside the job as "origin": what the client tells of its code.
# Prints the id once the job goes on by itself. When it cannot, it leaves the reason where the gate does, for the client
# to read, and leaves with 125.
#
# On disk, in ~/.mtr/jobs/ID (see list.sh for who reads it):
#   about            ABOUT
#   keeper, stop     KEEPER: what the job's first process shows in ps; STOP, called overdue once the job's time is over
#   stopping         somebody stops it
#   queued, running, or ended.STATUS.SECONDS.WHY
#                    one file that is renamed, since a rename takes no space on a full disk. It holds the keeper's
#                    "PID START BOOT SINCE", where SINCE is when it began, and in a second line when the command did.
#                    STATUS as a shell reports it, SECONDS since the epoch, WHY is exit, stopped, timeout or failed
#   out, err         what the job prints, as it is
#   origin           stdin; origin.new while it comes
#   in, hold         FIFOs of one whose stdin is not empty: see type.sh
#   manifest         the record of CLIENT: what of the project was synced, and what each file was; manifest.new while
#                    it is copied
#   tree             the copy: see copy.sh
#   gpus             what was pinned (queue.sh)
#
# Assumptions:
# 1. mtr_home, mtr_no and mtr_token come from the gate, as a script of MODE e finds them: the login's home, since what
#    pre_cmd makes of HOME is the job's; where the reason goes; and the token of the tree that the client has seen, + in
#    front where it waited for it.
# 2. Whoever has made the directory is alone to use the id. "out" is made last: without it there is no job yet (life.sh).
# 3. setsid(1) of util-linux knows -f, and leaves INT and QUIT to the job, as perl does. Any other one starts the program
#    in a child where it leads a session already, as under another setsid. Without any, the job has a process group of
#    its own; there it ignores INT and QUIT, as all that a shell starts with &, where the shell knows no set -m.

mtr_id=$1 mtr_about=$2 mtr_keeper_text=$3 mtr_stop=$4 mtr_tree=$5 mtr_client=$6 mtr_options=$7
shift 7
mtr_home=${mtr_home:-${MTR_HOME:-$HOME}} mtr_no=${mtr_no:-${MTR_NO-}} mtr_token=${mtr_token:-${MTR_TOKEN-}}
unset MTR_HOME MTR_NO MTR_TOKEN
mtr_token=${mtr_token#+}
mtr_jobs=$mtr_home/.mtr/jobs mtr_job=$mtr_home/.mtr/jobs/$mtr_id
mtr_made='' mtr_copying=
case $mtr_tree in
  \~) mtr_tree=$mtr_home ;;
  \~/*) mtr_tree=$mtr_home/${mtr_tree#\~/} ;;
esac

undo() { [ -z "$mtr_made" ] || rm -rf -- "$mtr_job"; }
# refuse REASON WORDS: nothing is left, nothing was started.
refuse() {
  undo
  { [ -n "$mtr_no" ] && printf '%s\n' "$@" >"$mtr_no"; } 2>/dev/null || printf 'mtr: %s\n' "${2-$1}" >&2
  exit 125
}
trap 'undo; exit 1' HUP INT TERM

mtr_copy=''
for mtr_word in $mtr_options; do
  case $mtr_word in
    copy=*) mtr_copy=${mtr_word#*=} ;;
    gpus=*) mtr_said=$(check_gpus "${mtr_word#*=}" 2>&1) || refuse job "$mtr_said" ;;
  esac
done
case $PWD/ in
  # The gate has come here by this very name.
  "${mtr_tree%/}"/*) ;;
  *)
    mtr_root=$(cd -- "$mtr_tree" 2>&1 && pwd) || refuse job "$mtr_root"
    mtr_tree=$mtr_root
    ;;
esac
mtr_put=$mtr_tree/.mtr/put.$mtr_client
if [ -n "$mtr_copy" ] && [ ! -f "$mtr_put" ]; then
  [ "$mtr_copy" = try ] || refuse job "this machine has never synced anything to $mtr_tree, so there is nothing to copy"
  mtr_copy=
fi

make_directory() {
  # Whoever may write there could put another script in the place of ours.
  [ -d "$mtr_jobs" ] || (umask 077 && mkdir -p -- "$mtr_jobs") || return 1
  mkdir -m 700 -- "$mtr_job"
}
# printf, since a redirection that fails ends a shell that has it on a special builtin.
make_files() {
  printf '%s\n' "$mtr_about" >"$mtr_job/about" && printf '%s\n' "$mtr_keeper_text" >"$mtr_job/keeper" || return 1
  [ -z "$mtr_stop" ] || printf '%s\n' "$mtr_stop" >"$mtr_job/stop" || return 1
  case " $mtr_options " in
    *" pty "*) make_terminal ;;
    *" input "*) for mtr_f in in hold; do [ -p "$mtr_job/$mtr_f" ] || mkfifo -m 600 -- "$mtr_job/$mtr_f" || return 1; done ;;
  esac
}
# Begins to copy the record of what was synced; for a job that is in the tree itself.
keep_manifest() {
  [ -z "$mtr_copy" ] && [ -n "$mtr_tree" ] && [ -f "$mtr_put" ] || return 0
  { cat <&4 >&5 4<&- 5>&- 2>/dev/null & } 4<"$mtr_put" 5>"$mtr_job/manifest.new" && mtr_copying=$!
}
make_job() { for mtr_f in queued err out; do printf '' >"$mtr_job/$mtr_f" || return 1; done; }
# A shell's own words for a full disk are no more than "I/O error".
full() {
  refuse job "${1:-the directory of the job cannot be made}" "$mtr_jobs cannot be written; what is free there:" "$(df -k -- "$mtr_home" 2>&1)"
}

if mtr_said=$(make_directory 2>&1); then
  mtr_made=yes
elif [ -e "$mtr_job" ] || [ -L "$mtr_job" ]; then
  refuse job "there is a job $mtr_id already: start this one again"
else
  full "$mtr_said"
fi
# What a shell says of it is asked for only when it fails: to catch that takes a process.
make_files 2>/dev/null || full "$(make_files 2>&1)"
keep_manifest 2>/dev/null || full "$(keep_manifest 2>&1)"
if [ -n "$mtr_copy" ]; then
  mtr_said=$({ copy_tree "$mtr_job/tree" || exit; } 2>&1 && rm -f -- "$mtr_job/list" 2>&1)
  case $? in
    0) ;;
    4)
      [ -z "$mtr_token" ] || refuse token
      refuse job "others keep changing $mtr_tree, and the copy would be of no one moment"
      ;;
    *) full "$mtr_said" ;;
  esac
  # The same place in the copy, also where this shell was told of the directory by another name.
  mtr_sub=
  case $PWD in
    "$mtr_tree"/*) mtr_sub=${PWD#"$mtr_tree"} ;;
    *)
      mtr_root=$(cd -- "$mtr_tree" && pwd -P) mtr_here=$(pwd -P)
      case $mtr_here in "$mtr_root"/*) mtr_sub=${mtr_here#"$mtr_root"} ;; esac
      ;;
  esac
  if ! mtr_said=$(mkdir -p -- "$mtr_job/tree$mtr_sub" 2>&1) || ! cd -- "$mtr_job/tree$mtr_sub"; then
    refuse job "${mtr_said:-there is no $mtr_job/tree$mtr_sub}"
  fi
fi
make_job 2>/dev/null || full "$(make_job 2>&1)"
trap - HUP INT TERM

# Where the manager of user sessions ends what a login has left, the user's own manager keeps it, if it lingers.
mtr_scope=
if [ -d /run/systemd/system ] && [ -e "/var/lib/systemd/linger/$(id -un)" ]; then
  : "${XDG_RUNTIME_DIR:=/run/user/$(id -u)}"
  export XDG_RUNTIME_DIR
  # With --collect, which came late: nothing is left in the manager when the job has failed.
  mtr_scope='systemd-run --user --scope --quiet --collect'
  if $mtr_scope true; then mtr_scope="$mtr_scope --unit=mtr-job-$mtr_id --"; else mtr_scope=; fi
fi 2>/dev/null
export MTR_JOB="$mtr_id"
# shellcheck disable=SC2086  # words of ours
set -- $mtr_scope /bin/sh "$mtr_job/keeper" "$mtr_options" "$@"
# Whoever is started next may ask for this one: it is there once its keeper has signed, and has closed descriptor 3.
mtr_said=$({
  setsid -f "$@" || perl -MPOSIX=setsid -e 'exit if fork; setsid(); exec(@ARGV)' -- "$@" || setsid setsid "$@" || {
    set -m
    "$@" &
  }
} 3>&1 </dev/null >/dev/null 2>&1)
# What this script starts from now on is no part of the job.
unset MTR_JOB
# Whatever stands in front of the keeper may have closed that descriptor.
mtr_i=0
while [ -f "$mtr_job/queued" ] && [ ! -s "$mtr_job/queued" ] && [ "$mtr_i" -lt 250 ]; do
  mtr_i=$((mtr_i + 1))
  sleep 0.02 2>/dev/null || sleep 1
done
# Its environment tells of one that is only slow, also while something else stands in front of it.
if [ -f "$mtr_job/queued" ] && [ ! -s "$mtr_job/queued" ] && [ -r /proc/self/environ ] &&
  ! grep -q -a -z -x -s -e "MTR_JOB=$mtr_id" /proc/[0-9]*/environ; then
  refuse job "its first process ended at once, and told nobody why: a limit of processes, files or memory there may"
fi
# The client needs to hear no more, and may go.
printf '%s\n' "$mtr_id"
[ -z "$mtr_copying" ] || { wait "$mtr_copying" && mv -- "$mtr_job/manifest.new" "$mtr_job/manifest"; } 2>/dev/null
cat >"$mtr_job/origin.new" && mv -- "$mtr_job/origin.new" "$mtr_job/origin"
