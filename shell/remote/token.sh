#!/bin/sh
# Tells whether a project's directory here is what a token says: leaves with 0 if it is.
#
#   set -- DIR TOKEN
mtr_dir=$1
case $mtr_dir in \~/*) mtr_dir=$HOME/${mtr_dir#\~/} ;; esac
[ -f "$mtr_dir/.mtr/t.$2" ]
