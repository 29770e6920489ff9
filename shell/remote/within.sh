#!/bin/sh
# What stands in front of read_file.sh, write_file.sh and resolve.sh: how a path is found.
#
#   find_path DIR PATH WITHIN
#
#   DIR     the project's directory, from which relative paths count; ~/ at its start means $HOME, at that of PATH too
#   WITHIN  within: leave with 8 unless it lies below DIR once all links are followed, and in no .git or .mtr there
#
# Sets mtr_path. With WITHIN this is then a name in the directory that it has entered, and no link: whoever swaps a
# directory on the way for a link later leads nowhere else. Leaves with 3 where DIR is missing, or links do not end.
#
# Assumptions:
# 1. Directories that are missing are made by who writes, below the last one that is there.
# 2. $(...) takes newlines from the end of a name: a dot stands behind them.

find_path() {
  mtr_dir=$1 mtr_path=$2
  case $mtr_dir in \~) mtr_dir=$HOME ;; \~/*) mtr_dir=$HOME/${mtr_dir#??} ;; esac
  case $mtr_path in
    \~/*) mtr_path=$HOME/${mtr_path#??} ;;
    /*) ;;
    *) mtr_path=$mtr_dir/$mtr_path ;;
  esac
  [ -n "$3" ] || return 0
  mtr_root=$(cd -P -- "$mtr_dir" 2>/dev/null && pwd -P && echo .) || exit 3
  mtr_root=${mtr_root%??} mtr_hops=0
  [ "$mtr_root" != / ] || mtr_root=
  while :; do
    while case $mtr_path in ?*/) ;; *) false ;; esac do mtr_path=${mtr_path%/}; done
    # A directory stands for itself, under whatever name.
    if [ -d "$mtr_path" ] && [ ! -L "$mtr_path" ]; then mtr_path=$mtr_path/.; fi
    mtr_rest=${mtr_path##*/} mtr_path=${mtr_path%/*}
    while [ -n "$mtr_path" ] && [ ! -d "$mtr_path" ]; do
      mtr_rest=${mtr_path##*/}/$mtr_rest mtr_path=${mtr_path%/*}
    done
    cd -P -- "${mtr_path:-/}/" 2>/dev/null || exit 6
    mtr_here=$(pwd -P && echo .)
    mtr_here=${mtr_here%??}
    case $mtr_here/ in "$mtr_root"/*) ;; *) exit 8 ;; esac
    case ${mtr_here#"$mtr_root"}/$mtr_rest/ in */../* | */.[gG][iI][tT]/* | */.[mM][tT][rR]/*) exit 8 ;; esac
    mtr_path=./$mtr_rest
    [ -L "$mtr_path" ] || return 0
    mtr_hops=$((mtr_hops + 1))
    [ "$mtr_hops" -lt 40 ] || exit 3
    mtr_path=$(readlink -- "$mtr_path" && echo .) || exit 6
    mtr_path=${mtr_path%??}
    case $mtr_path in /*) ;; *) mtr_path=$mtr_here/$mtr_path ;; esac
  done
}
