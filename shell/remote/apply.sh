#!/bin/sh
# Brings one push into place: the files that changed here, and the paths that are gone here. Runs at the gate,
# where the push travels with the command, or in a session of its own.
#
#   set -- HOW DIR RUN NEW OLD CLIENT STAT LINES
#
#   HOW     where the files are. payload: a compressed tar in base64 in $mtr_tar, the plan in $mtr_plan, and
#           this is the project's directory already; tar: on stdin, compressed, with the plan in it as .mtr/plan, while a
#           gate waits for it; alone: the same, and no gate waits; rsync: rsync
#           brings them into partial/new while this script holds the lock; stdin has the plan's length in bytes as a
#           line, the plan, and once rsync has ended well the line "done", or "full" if the disk is; sftp: another
#           session brings into in.RUN what the archive would hold while this script holds the lock, and then the line
#           "done" comes on stdin
#   DIR     the project's directory here; ~/ at its start means $HOME
#   NEW     the token that says this push is in place
#   OLD     the tokens, parted by blanks, on which it builds: one of them must be there
#   CLIENT  who pushes: whose record of what was put here counts
#   STAT    c: GNU or busybox stat, f: BSD stat, empty: there is none
#   LINES   a record of more lines than this is made shorter
#
# Prints "mtr-ready PWD" when rsync or SFTP may begin, "mtr-trash N" when N things that this client had not put
# there went to the trash, "mtr-done" at the end. Leaves with 4 when no token of OLD is there, 3 when something in .mtr
# is a link, 1 on any other failure, with the system's words on stderr; with 1 and 4, no.NEW is written for tar.
#
# In .mtr: t.TOKEN says what the tree is, and names those that it was built on; busy.RUN is the same file while a push changes the tree, so renaming
# it is the lock, and has one winner; put.CLIENT holds a line "inode:size:ctime|path" for what was put here; odd.CLIENT: something with a newline in its name was;
# in.RUN is where files arrive before they are renamed into place, with what this script notes in in.RUN/.mtr;
# partial holds what a cut rsync has brought, for the next one to go on with, and goes with the next push that ends
# well; trash/N-TIME-RUN keeps what was replaced; no.NEW tells a gate that waits for NEW that it will not come.
#
# Assumptions:
# 1. A file whose line is not in put.CLIENT was made or changed here (or by another client): it is linked into
#    the trash before it is replaced. Inode and ctime are this machine's own, so no clock matters, and a moved
#    older file is noticed. What has no such line (a name with a newline) goes to the trash whenever it is replaced.
# 2. A directory that has become a link here leads somewhere else, and nothing is written or deleted there: the link
#    goes to the trash. What was below it is missing then, and not in the plan: the tree gets a token that the client
#    does not know (and this leaves with 4), so that it compares everything. Whoever may write in .mtr besides this
#    user may change what the command runs as well, so nothing here guards against them but that no link is followed.
# 3. The plan calls adopt, and gone, rmdirs, folders, put, odd with paths that begin with ./, quoted by mtr.
# 4. Nothing is in place before everything has arrived: the archive's last member is .mtr/end. A failure before
#    that gives the token back; after it, list.sh of the next run finds the lock of somebody who has gone.
# 5. Whoever holds the lock is alone: what other runs have left in .mtr is nobody's. An rsync that has lost its
#    script cannot bring anything any more once its in.RUN, where its temporary files are, has gone.

mtr_how=$1 mtr_dir=$2 mtr_run=$3 mtr_new=$4 mtr_old=$5 mtr_client=$6 mtr_stat=$7 mtr_lines=$8
unset TAR_OPTIONS GZIP
# What an rc file has printed may lack the end of its line.
[ "$mtr_how" = payload ] || echo
mtr_claimed='' mtr_begun='' mtr_trash='' mtr_count=0 mtr_linked='' mtr_batch=0 mtr_split=''
mtr_put=.mtr/put.$mtr_client mtr_in=.mtr/in.$mtr_run mtr_own=.mtr/in.$mtr_run/.mtr

fail() {
  if [ -n "$mtr_claimed" ] && [ -z "$mtr_begun" ]; then mv -f -- ".mtr/busy.$mtr_run" ".mtr/$mtr_claimed"; fi
  rm -rf -- ".mtr/in.$mtr_run"
  case $mtr_how$1 in
    tar[14]) printf '' >".mtr/no.$mtr_new" ;;
    # Another run's rsync may be at work in it: it is the holder's of the lock alone.
    rsync*) [ -z "$mtr_claimed" ] || rmdir .mtr/partial/new .mtr/partial 2>/dev/null ;;
  esac
  [ -z "${2-}" ] || printf '%s\n' "$2" >&2
  exit "$1"
}

# Prints the lines of the record for what stands at the paths.
st() {
  case $mtr_stat in
    c) LC_ALL=C TZ=UTC0 stat -c '%i:%s:%z|%n' -- "$@" 2>/dev/null ;;
    f) LC_ALL=C TZ=UTC0 stat -f '%i:%z:%Fc|%N' -- "$@" 2>/dev/null ;;
  esac
}

# The same for all that is here.
st_all() {
  case $mtr_stat in
    c) find . -path ./.mtr -prune -o ! -type d -exec env LC_ALL=C TZ=UTC0 stat -c '%i:%s:%z|%n' -- {} + ;;
    f) find . -path ./.mtr -prune -o ! -type d -exec env LC_ALL=C TZ=UTC0 stat -f '%i:%z:%Fc|%N' -- {} + ;;
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

# Sets mtr_p to the first on the way to the directory $1, itself included, that is none, or a link; fails if all are.
find_bar() {
  mtr_p=. mtr_rest=${1#.}
  while [ -n "$mtr_rest" ]; do
    mtr_rest=${mtr_rest#/}
    mtr_p=$mtr_p/${mtr_rest%%/*}
    if [ -L "$mtr_p" ] || { [ -e "$mtr_p" ] && [ ! -d "$mtr_p" ]; }; then return 0; fi
    case $mtr_rest in */*) mtr_rest=/${mtr_rest#*/} ;; *) mtr_rest= ;; esac
  done
  return 1
}

# Makes directories, whatever stands in the way of them.
folders() {
  [ "$mtr_phase" != list ] || return 0
  for mtr_d; do
    if find_bar "$mtr_d"; then
      [ ! -d "$mtr_p" ] || mtr_linked=yes
      trash "$mtr_p" goes 1
    fi
    [ -d "$mtr_d" ] || mkdir -p -- "$mtr_d" || fail 1
  done
}

# adopt LINE...: what was there already and is as this client would have put it.
adopt() { [ "$mtr_phase" != list ] || printf '%s\n' "$@" >>"$mtr_put" || fail 1; }

# note PATH...: notes, in the first look at the plan, what belongs to the next call of find_theirs.
note() {
  mtr_batch=$((mtr_batch + 1))
  printf '%s\n' "=$mtr_batch" "$@" >>"$mtr_own/list" || fail 1
}

# Parts the record by those calls, so that each reads only what it asks for.
split_record() {
  mkdir "$mtr_own/mine" || fail 1
  LC_ALL=C awk -v d="$mtr_own/" -v lines="$mtr_lines" '
    FNR == NR { if (/^=/) k = substr($0, 2); else b[$0] = k; next }
    { p = substr($0, index($0, "|") + 1); if (p in b) l[p] = $0 }
    END {
      for (p in l) { f = d "mine/" b[p]; print l[p] >>f; close(f) }
      if (FNR > lines) print "" >(d "long")
    }' "$mtr_own/list" "$mtr_put" || fail 1
  mtr_split=yes
}

# Leaves in the record only what says how something is that stands here.
shorten_record() {
  st_all | LC_ALL=C awk 'FNR == NR { c[$0]; next } $0 in c { print; delete c[$0] }' - "$mtr_put" >"$mtr_own/put" &&
    mv -f -- "$mtr_own/put" "$mtr_put"
}

# Writes those of the paths on which something stands that is not what this client put there, as lines of the record.
find_theirs() {
  mtr_batch=$((mtr_batch + 1)) mtr_mine=$mtr_put
  printf '' >"$mtr_own/theirs" || fail 1
  [ -n "$mtr_stat" ] || return 0
  if [ -n "$mtr_split" ]; then
    mtr_mine=$mtr_own/mine/$mtr_batch
    [ -f "$mtr_mine" ] || printf '' >"$mtr_mine" || fail 1
  fi
  # The last, empty line says that all of it was written: on a full disk nothing may pass for "nothing stands there".
  { st "$@" || :; echo; } >"$mtr_own/cur" || fail 1
  awk -v d="$mtr_own/" -v lines="$mtr_lines" '
    FNR == NR { if ($0 != "") c[$0]; next }
    { delete c[$0] }
    END { for (k in c) print k; if (FNR > lines) print "" >(d "long") }' \
    "$mtr_own/cur" "$mtr_mine" >"$mtr_own/theirs" || fail 1
}

# Tells whether a file or a link stands at the path: what is a directory now was made by somebody else.
is_file() { [ -L "$1" ] || { [ -e "$1" ] && [ ! -d "$1" ]; }; }

# gone DIR PATH...: files of one directory that were removed here.
gone() {
  mtr_to=$1
  shift
  if [ "$mtr_phase" = list ]; then
    note "$@"
    return
  fi
  find_theirs "$@"
  if find_bar "$mtr_to"; then return 0; fi
  while IFS= read -r mtr_line; do
    if is_file "${mtr_line#*\|}"; then trash "${mtr_line#*\|}" goes 1; fi
  done <"$mtr_own/theirs"
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
rmdirs() {
  [ "$mtr_phase" != list ] || return 0
  mtr_left=$#
  while [ "$mtr_left" -gt 0 ]; do
    mtr_d=$1 mtr_left=$((mtr_left - 1))
    shift
    if ! find_bar "$mtr_d"; then set -- "$@" "$mtr_d"; fi
  done
  [ $# -eq 0 ] || rmdir -- "$@" 2>/dev/null || :
}

# Sends to the trash what stands at the paths and is not what this client put there.
keep_theirs() {
  find_theirs "$@"
  if [ -z "$mtr_stat" ]; then
    for mtr_p; do
      if stands "$mtr_p"; then trash "$mtr_p" stays 0; fi
    done
    return
  fi
  while IFS= read -r mtr_line; do
    mtr_p=${mtr_line#*\|}
    # The same content needs no keeping, whoever put it there.
    if [ -f "$mtr_p" ] && [ ! -L "$mtr_p" ] && cmp -s -- "$mtr_in/$mtr_p" "$mtr_p"; then continue; fi
    if stands "$mtr_p"; then trash "$mtr_p" stays 1; fi
  done <"$mtr_own/theirs"
}

# put DIR PATH...: files for one directory.
put() {
  mtr_to=$1
  shift
  if [ "$mtr_phase" = list ]; then
    note "$@"
    return
  fi
  if [ "$mtr_how" = rsync ]; then
    # What has vanished since it was listed has not come.
    mtr_left=0
    for mtr_p; do stands "$mtr_in/$mtr_p" || mtr_left=$#; done
    while [ "$mtr_left" -gt 0 ]; do
      mtr_p=$1 mtr_left=$((mtr_left - 1))
      shift
      if stands "$mtr_in/$mtr_p"; then set -- "$@" "$mtr_p"; fi
    done
    if [ $# -eq 0 ]; then
      mtr_batch=$((mtr_batch + 1))
      return
    fi
  fi
  folders "$mtr_to"
  keep_theirs "$@"
  (cd -- "$mtr_in" && mv -f -- "$@" "$mtr_root/$mtr_to/") || fail 1
  st "$@" >>"$mtr_put" || :
}

# odd DIR PATH: a file with a name that no line of the record can hold.
odd() {
  if [ "$mtr_phase" = list ] || { [ "$mtr_how" = rsync ] && ! stands "$mtr_in/$2"; }; then return 0; fi
  folders "$1"
  if stands "$2"; then trash "$2" stays 0; fi
  mv -f -- "$mtr_in/$2" "$2" || fail 1
  printf '' >".mtr/odd.$mtr_client" || fail 1
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
  mtr_phase=$1 mtr_batch=0
  if [ "$mtr_how" = payload ]; then
    # shellcheck disable=SC2154  # set by the payload, as mtr_tar is
    eval "$mtr_plan" || fail 1
  else
    # shellcheck disable=SC1090,SC1091
    . "$mtr_own/plan" || fail 1
  fi
}

# Tells whether there is nothing of anybody's here yet, and all that is to be has arrived: rsync brings no empty
# directories, the plan makes them.
is_fresh() {
  if [ "$mtr_how" = rsync ] && grep -q '^folders ' "$mtr_own/plan"; then return 1; fi
  for mtr_p in * .[!.]* ..?*; do
    if [ "$mtr_p" != .mtr ] && stands "$mtr_p"; then return 1; fi
  done
}

# A fresh directory takes all that has arrived at once.
place_all() {
  # shellcheck disable=SC2016  # expanded by the inner shell
  find "$mtr_in" -mindepth 1 -maxdepth 1 ! -name .mtr -exec sh -c 'mv -- "$@" .' mtr-place {} + || fail 1
  st_all >"$mtr_put"
  if grep -q '^odd ' "$mtr_own/plan"; then printf '' >".mtr/odd.$mtr_client"; fi
}

if [ "$mtr_how" != payload ]; then
  case $mtr_dir in \~/*) mtr_dir=$HOME/${mtr_dir#\~/} ;; esac
  cd -- "$mtr_dir" || exit 4
fi
[ -d .mtr ] || mkdir .mtr 2>/dev/null || exit 4
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
for mtr_p in .mtr .mtr/* .mtr/trash/* .mtr/partial/*; do
  [ ! -L "$mtr_p" ] || fail 3 "$PWD/$mtr_p is a symbolic link, and nothing is written through it: remove it"
done
if ! is_there; then
  for mtr_o in $mtr_old; do
    if [ ! -L ".mtr/t.$mtr_o" ] && mv -- ".mtr/t.$mtr_o" ".mtr/busy.$mtr_run" 2>/dev/null; then
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
  printf '' >>"$mtr_put" || fail 1
  rm -rf -- .mtr/in.*
  mkdir ".mtr/in.$mtr_run" || fail 1
  case $mtr_how in
    payload)
      # shellcheck disable=SC2154
      printf %s "$mtr_tar" | base64 -d | gzip -dc | (cd "$mtr_in" && tar xpf -) || fail 1
      ;;
    tar | alone) gzip -dc | (cd "$mtr_in" && tar xpf -) || fail 1 ;;
    rsync)
      mtr_in=.mtr/partial/new
      [ ! -e .mtr/partial ] || mtr_split=old
      mkdir -p "$mtr_own" "$mtr_in" || fail 1
      read -r mtr_line || fail 1 'the plan did not arrive'
      head -c "$mtr_line" >"$mtr_own/plan" || fail 1
      [ "$(wc -c <"$mtr_own/plan")" -eq "$mtr_line" ] || fail 1 'the plan did not arrive'
      ;;
  esac
  case $mtr_how in
    rsync | sftp)
      echo "mtr-ready $PWD"
      read -r mtr_line || mtr_line=
      [ "$mtr_line" != full ] || rm -rf .mtr/partial
      [ "$mtr_line" = 'done' ] || fail 1 'the files did not all arrive'
      ;;
  esac
  [ "$mtr_how" = rsync ] || [ -f "$mtr_own/end" ] || fail 1 'the files did not all arrive'
  # Somebody who could not see this process, on another machine, may have taken it for dead.
  [ -f ".mtr/busy.$mtr_run" ] || fail 4 'somebody else has taken the lock'
  mtr_begun=yes
  if [ "$mtr_how" != payload ] && [ -z "$mtr_split" ] && is_fresh; then
    place_all
  else
    mtr_split=
    run_plan list
    if [ "$mtr_batch" -gt 2 ] && [ -s "$mtr_put" ] && [ -n "$mtr_stat" ]; then split_record; fi
    run_plan place
    [ ! -f "$mtr_own/long" ] || shorten_record
  fi
  rm -rf -- "$mtr_own" ".mtr/in.$mtr_run" .mtr/partial
  if [ -n "$mtr_linked" ]; then
    printf '' >".mtr/busy.$mtr_run" || fail 1
    mv -- ".mtr/busy.$mtr_run" ".mtr/t.l$mtr_run" || fail 1
    echo "mtr-trash $mtr_count"
    fail 4
  fi
  sign "$mtr_new $mtr_of" || fail 1
  mv -- ".mtr/busy.$mtr_run" ".mtr/t.$mtr_new" || fail 1
  if [ -n "$mtr_trash" ]; then prune_trash 2>/dev/null; fi
  [ "$mtr_count" = 0 ] || echo "mtr-trash $mtr_count"
fi
echo mtr-done
