#!/bin/sh
# Asks a server, once when its master opens, what mtr needs to know. Prints lines "mtr-probe KEY VALUE".
#
# 1. That any line arrives at all shows that the login shell runs what it is given: an rc file that exits or
#    execs would otherwise look like a command that succeeded.
# 2. The two variables were sent along: which of them arrive tells how a payload can travel.
echo "mtr-probe start 1"
[ "${LC_MTR_PROBE-}" != 1 ] || echo "mtr-probe payload LC_MTR"
[ "${XMODIFIERS-}" != mtr-probe ] || echo "mtr-probe payload XMODIFIERS"
