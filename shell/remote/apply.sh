#!/bin/sh
# Brings one push into place: the files that changed here, and the paths that are gone here. Runs at the gate,
# where the push travels with the command, or in a session of its own.
#
#   set -- HOW DIR RUN NEW OLD CLIENT STAT
#
#   HOW     where the files are. payload: a compressed tar in base64 in $mtr_tar, the plan in $mtr_plan, and
#           this is the project's directory already; tar: on stdin, compressed, with the plan in it as .mtr/plan; rsync: rsync
#           brings them while this script holds the lock; stdin has the plan's length in bytes as a line, the plan,
#           and once rsync has ended well the line "done"; sftp: another session brings into in.RUN what the archive
#           would hold while this script holds the lock, and then the line "done" comes on stdin
#   DIR     the project's directory here; ~/ at its start means $HOME
#   NEW     the token that says this push is in place
#   OLD     the tokens, parted by blanks, on which it builds: one of them must be there
#   CLIENT  who pushes: whose record of what was put here counts
#   STAT    c: GNU or busybox stat, f: BSD stat, empty: there is none
#
# Prints "mtr-ready PWD" when rsync or SFTP may begin, "mtr-trash N" when N things that this client had not put
# there went to the trash, "mtr-done" at the end. Leaves with 4 when no token of OLD is there, 1 on any other failure, with the system's words on stderr.
#
# In .mtr: t.TOKEN says what the tree is, and names those that it was built on; busy.RUN is the same file while a push changes the tree, so renaming
# it is the lock, and has one winner; put.CLIENT holds a line "inode:size:ctime|path" for what was put here;
# in.RUN is where files arrive before they are renamed into place; trash/N-TIME-RUN keeps what was replaced; no.NEW
# tells a gate that waits for NEW that it will not come.
#
# Assumptions:
# 1. A file whose line is not in put.CLIENT was made or changed here (or by another client): it is linked into
#    the trash before it is replaced. Inode and ctime are this machine's own, so no clock matters, and a moved
#    older file is noticed. What has no such line (a name with a newline) goes to the trash whenever it is replaced.
# 2. A directory here may be a link to a larger disk: it is followed.
# 3. The plan calls adopt, and gone, rmdirs, folders, put, odd with paths that begin with ./, quoted by mtr.
# 4. Nothing is in place before everything has arrived: the archive's last member is .mtr/end. A failure before
#    that gives the token back; after it, list.sh of the next run finds the lock of somebody who has gone.

mtr_how=$1 mtr_dir=$2 mtr_run=$3 mtr_new=$4 mtr_old=$5 mtr_client=$6 mtr_stat=$7
unset TAR_OPTIONS GZIP
# What an rc file has printed may lack the end of its line.
[ "$mtr_how" = payload ] || echo
mtr_claimed='' mtr_begun='' mtr_trash='' mtr_count=0

fail() {
  if [ -n "$mtr_claimed" ] && [ -z "$mtr_begun" ]; then mv -f -- ".mtr/busy.$mtr_run" ".mtr/$mtr_claimed"; fi
  clean
  [ "$mtr_how" != tar ] || : >".mtr/no.$mtr_new"
  [ -z "${2-}" ] || printf '%s\n' "$2" >&2
  exit "$1"
}

clean() { rm -rf -- ".mtr/in.$mtr_run" ".mtr/plan.$mtr_run" ".mtr/cur.$mtr_run" ".mtr/theirs.$mtr_run"; }

# Prints the lines of the record for what stands at the paths.
st() {
  case $mtr_stat in
    c) LC_ALL=C TZ=UTC0 stat -c '%i:%s:%z|%n' -- "$@" 2>/dev/null ;;
    f) LC_ALL=C TZ=UTC0 stat -f '%i:%z:%Fc|%N' -- "$@" 2>/dev/null ;;
  esac
}

# trash PATH HOW COUNT: keeps what stands at the path. A file that "stays" is in its place until it is replaced: it is
# never missing. COUNT is 0 for what is no surprise to anybody. A directory of which something lies in the trash
# already is merged into that.
trash() {
  if [ -z "$mtr_trash" ]; then
    mtr_trash=1000000
    for mtr_f in .mtr/trash/*; do mtr_trash=${mtr_f##*/}; done
    case ${mtr_trash%%-*} in *[!0-9]* | '') mtr_trash=1000000 ;; esac
    mtr_trash=.mtr/trash/$((${mtr_trash%%-*} + 1))-$(date -u +%Y%m%dT%H%M%SZ)-$mtr_run
  fi
  mkdir -p -- "$mtr_trash/${1%/*}" || fail 1
  if [ -d "$1" ] && [ ! -L "$1" ] && [ -d "$mtr_trash/$1" ]; then
    for mtr_f in "$1"/* "$1"/.[!.]* "$1"/..?*; do
      if stands "$mtr_f"; then trash "$mtr_f" goes "$3"; fi
    done
    rmdir -- "$1" || fail 1
    return
  fi
  if [ "$2" != stays ] || [ ! -f "$1" ] || [ -L "$1" ] || ! ln -- "$1" "$mtr_trash/$1" 2>/dev/null; then
    mv -f -- "$1" "$mtr_trash/$1" || fail 1
  fi
  mtr_count=$((mtr_count + $3))
}

stands() { [ -e "$1" ] || [ -L "$1" ]; }

# Makes directories, whatever stands in the way of them.
folders() {
  for mtr_d; do
    mkdir -p -- "$mtr_d" 2>/dev/null && continue
    mtr_p=$mtr_d
    while [ "$mtr_p" != . ]; do
      if stands "$mtr_p" && [ ! -d "$mtr_p" ]; then
        trash "$mtr_p" goes 1
        break
      fi
      mtr_p=${mtr_p%/*}
    done
    mkdir -p -- "$mtr_d" || fail 1
  done
}

# adopt LINE...: what was there already and is as this client would have put it.
adopt() { [ "$mtr_phase" = record ] || printf '%s\n' "$@" >>".mtr/put.$mtr_client"; }

# Writes those of the paths on which something stands that is not what this client put there, as lines of the record.
find_theirs() {
  : >".mtr/theirs.$mtr_run" || fail 1
  [ -n "$mtr_stat" ] || return 0
  # The last, empty line says that all of it was written: on a full disk nothing may pass for "nothing stands there".
  { st "$@" || :; echo; } >".mtr/cur.$mtr_run" || fail 1
  awk 'FNR == NR { if ($0 != "") c[$0]; next } { delete c[$0] } END { for (k in c) print k }' \
    ".mtr/cur.$mtr_run" ".mtr/put.$mtr_client" >".mtr/theirs.$mtr_run" || fail 1
}

# Tells whether a file or a link stands at the path: what is a directory now was made by somebody else.
is_file() { [ -L "$1" ] || { [ -e "$1" ] && [ ! -d "$1" ]; }; }

# gone DIR PATH...: files of one directory that were removed here.
gone() {
  [ "$mtr_phase" != record ] || return 0
  mtr_to=$1
  shift
  find_theirs "$@"
  while IFS= read -r mtr_line; do
    if is_file "${mtr_line#*|}"; then trash "${mtr_line#*|}" goes 1; fi
  done <".mtr/theirs.$mtr_run"
  mtr_left=$#
  while [ "$mtr_left" -gt 0 ]; do
    mtr_p=$1 mtr_left=$((mtr_left - 1))
    shift
    if is_file "$mtr_p"; then set -- "$@" "$mtr_p"; fi
  done
  [ $# -gt 1 ] || { [ $# -eq 0 ] || trash "$1" goes 0; return 0; }
  # The first makes the trash and the place in it, the others follow at once.
  trash "$1" goes 0
  shift
  mv -f -- "$@" "$mtr_trash/$mtr_to/" || fail 1
}

# Directories that are gone here go if nothing is left in them.
rmdirs() { rmdir -- "$@" 2>/dev/null || :; }

# Sends to the trash what stands at the paths and is not what this client put there.
keep_theirs() {
  if [ -z "$mtr_stat" ]; then
    for mtr_p; do
      if stands "$mtr_p"; then trash "$mtr_p" stays 0; fi
    done
    return
  fi
  find_theirs "$@"
  while IFS= read -r mtr_line; do
    mtr_p=${mtr_line#*|}
    # The same content needs no keeping, whoever put it there.
    if [ -f "$mtr_p" ] && [ ! -L "$mtr_p" ] && cmp -s -- ".mtr/in.$mtr_run/$mtr_p" "$mtr_p"; then continue; fi
    if stands "$mtr_p"; then trash "$mtr_p" stays 1; fi
  done <".mtr/theirs.$mtr_run"
}

# put DIR PATH...: files for one directory.
put() {
  mtr_to=$1
  shift
  if [ "$mtr_phase" != record ]; then
    [ -d "$mtr_to" ] || folders "$mtr_to"
    keep_theirs "$@"
  fi
  if [ "$mtr_phase" = place ]; then
    (cd -- ".mtr/in.$mtr_run" && mv -f -- "$@" "$mtr_root/$mtr_to/") || fail 1
  fi
  if [ "$mtr_phase" != check ]; then st "$@" >>".mtr/put.$mtr_client" || :; fi
}

# odd DIR PATH: a file with a name that no line of the record can hold.
odd() {
  [ "$mtr_phase" != record ] || return 0
  [ -d "$1" ] || folders "$1"
  if stands "$2"; then trash "$2" stays 0; fi
  [ "$mtr_phase" = check ] || mv -f -- ".mtr/in.$mtr_run/$2" "$2" || fail 1
}

# The trash is kept for 14 days and up to a gigabyte; what this push has put there stays in any case.
prune_trash() {
  find .mtr/trash -mindepth 1 -maxdepth 1 -mtime +14 -exec rm -rf -- {} +
  for mtr_p in .mtr/trash/*; do
    [ "$mtr_p" != "$mtr_trash" ] || break
    mtr_kb=$(du -sk .mtr/trash)
    [ "${mtr_kb%%[!0-9]*}" -gt 1048576 ] || break
    rm -rf -- "$mtr_p"
  done
}

run_plan() {
  mtr_phase=$1
  if [ "$mtr_how" = payload ]; then
    # shellcheck disable=SC2154  # set by the payload, as mtr_tar is
    eval "$mtr_plan" || fail 1
  else
    # shellcheck disable=SC1090
    . "$mtr_list" || fail 1
  fi
}

# Tells whether there is nothing of anybody's here yet.
is_fresh() {
  for mtr_p in * .[!.]* ..?*; do
    if [ "$mtr_p" != .mtr ] && stands "$mtr_p"; then return 1; fi
  done
}

# A fresh directory takes all that has arrived at once.
place_all() {
  # shellcheck disable=SC2016  # expanded by the inner shell
  find ".mtr/in.$mtr_run" -mindepth 1 -maxdepth 1 ! -name .mtr -exec sh -c 'mv -- "$@" .' mtr-place {} + || fail 1
  case $mtr_stat in
    c) find . -path ./.mtr -prune -o ! -type d -exec env LC_ALL=C TZ=UTC0 stat -c '%i:%s:%z|%n' -- {} + ;;
    f) find . -path ./.mtr -prune -o ! -type d -exec env LC_ALL=C TZ=UTC0 stat -f '%i:%z:%Fc|%N' -- {} + ;;
  esac >".mtr/put.$mtr_client"
}

if [ "$mtr_how" != payload ]; then
  case $mtr_dir in \~/*) mtr_dir=$HOME/${mtr_dir#\~/} ;; esac
  cd -- "$mtr_dir" || exit 4
fi
mtr_root=$PWD

# Tells whether a tree is there that holds this push: its own, or one that this client has built on it.
is_there() {
  for mtr_f in .mtr/t.*; do
    [ "$mtr_f" != ".mtr/t.$mtr_new" ] || return 0
    if { read -r mtr_line && read -r mtr_line; } <"$mtr_f"; then
      case " $mtr_line " in *" $mtr_new "*) return 0 ;; esac
    fi
  done 2>/dev/null
  return 1
}

# Writes who holds the lock, and the tokens $1 of the pushes that are in the tree, the newest first.
sign() {
  mtr_i=0 mtr_line=$mtr_client
  for mtr_o in $1; do
    [ "$mtr_i" -lt 40 ] || break
    mtr_i=$((mtr_i + 1)) mtr_line="$mtr_line $mtr_o"
  done
  printf '%s\n' "$$ $mtr_boot" "$mtr_line" >".mtr/busy.$mtr_run"
}

command -v mv >/dev/null || fail 1 "there is no mv in $PATH"
if ! is_there; then
  for mtr_o in $mtr_old; do
    if mv -- ".mtr/t.$mtr_o" ".mtr/busy.$mtr_run" 2>/dev/null; then
      mtr_claimed=t.$mtr_o
      break
    fi
  done
  [ -n "$mtr_claimed" ] || fail 4 'the tree there is not as this client left it'
  # First line: who holds the lock, and since which boot; list.sh asks whether that process still lives. Second: whose
  # tree it is, and the tokens of the pushes that are in it. This one counts among them only once it is in place.
  mtr_of=
  { read -r mtr_line && read -r mtr_of; } <".mtr/busy.$mtr_run" || mtr_of=
  case $mtr_of in
    "$mtr_client "*) mtr_of=${mtr_of#* } ;;
    '') mtr_of=${mtr_claimed#t.} ;;
    *) mtr_of= ;;
  esac
  mtr_boot=
  read -r mtr_boot 2>/dev/null </proc/sys/kernel/random/boot_id || mtr_boot=$(uname -n)
  sign "$mtr_of" || fail 1
  : >>".mtr/put.$mtr_client" || fail 1
  case $mtr_how in
    payload)
      mkdir ".mtr/in.$mtr_run" || fail 1
      # shellcheck disable=SC2154
      printf %s "$mtr_tar" | base64 -d | gzip -dc | (cd ".mtr/in.$mtr_run" && tar xpf -) || fail 1
      ;;
    tar)
      mkdir ".mtr/in.$mtr_run" || fail 1
      gzip -dc | (cd ".mtr/in.$mtr_run" && tar xpf -) || fail 1
      mtr_list=.mtr/in.$mtr_run/.mtr/plan
      ;;
    sftp)
      mkdir ".mtr/in.$mtr_run" || fail 1
      echo "mtr-ready $PWD"
      if ! read -r mtr_line || [ "$mtr_line" != 'done' ]; then fail 1 'the files did not all arrive'; fi
      mtr_list=.mtr/in.$mtr_run/.mtr/plan
      ;;
    rsync)
      # rsync's temporary files have a place in which they are found again.
      mtr_list=.mtr/plan.$mtr_run
      mkdir ".mtr/in.$mtr_run" || fail 1
      read -r mtr_line || fail 1 'the plan did not arrive'
      head -c "$mtr_line" >"$mtr_list" || fail 1
      [ "$(wc -c <"$mtr_list")" -eq "$mtr_line" ] || fail 1 'the plan did not arrive'
      mtr_begun=yes
      run_plan check
      echo "mtr-ready $PWD"
      if ! read -r mtr_line || [ "$mtr_line" != 'done' ]; then fail 1 'the files did not all arrive'; fi
      run_plan record
      rm -rf .mtr/partial
      ;;
  esac
  if [ "$mtr_how" != rsync ]; then
    [ -f ".mtr/in.$mtr_run/.mtr/end" ] || fail 1 'the files did not all arrive'
    mtr_begun=yes
    if [ "$mtr_how" != payload ] && is_fresh; then place_all; else run_plan place; fi
  fi
  clean
  sign "$mtr_new $mtr_of" || fail 1
  mv -- ".mtr/busy.$mtr_run" ".mtr/t.$mtr_new" || fail 1
  if [ -n "$mtr_trash" ]; then prune_trash 2>/dev/null; fi
  [ "$mtr_count" = 0 ] || echo "mtr-trash $mtr_count"
fi
echo mtr-done
