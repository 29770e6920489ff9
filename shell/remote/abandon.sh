#!/bin/sh
# Tells the gate that waits for a push that it will not come.
#
#   set -- DIR TOKEN
mtr_dir=$1
case $mtr_dir in \~/*) mtr_dir=$HOME/${mtr_dir#\~/} ;; esac
[ ! -L "$mtr_dir/.mtr" ] && : >"$mtr_dir/.mtr/no.$2"
