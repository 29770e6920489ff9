#!/bin/sh
# Stores stdin as the plan of one push, to be carried out by apply.sh around an rsync.
#
#   set -- DIR RUN
mtr_dir=$1
case $mtr_dir in \~/*) mtr_dir=$HOME/${mtr_dir#\~/} ;; esac
umask 077
if cd -- "$mtr_dir" && cat >".mtr/plan.$2"; then exit 0; fi
rm -f ".mtr/plan.$2"
exit 1
