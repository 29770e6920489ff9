#!/bin/sh
# Answers what ssh asks while it logs in: hands the question to mtr and prints mtr's answer. ssh runs it as SSH_ASKPASS.
#
#   askpass.sh QUESTION
#
# In $MTR_ASKPASS, a directory of this user alone, mtr has made two FIFOs and holds them open: the question goes into
# "question", ended by a line with an EOT, and the answer is a line in "answer".
#
# Assumption: no other login uses that directory. When mtr has gone, the answer's end of file ends this as well.
kill -0 "$MTR_ASKPASS_PID" || exit 1
printf '%s\n\004\n' "$1" >"$MTR_ASKPASS/question" || exit 1
IFS= read -r mtr_answer <"$MTR_ASKPASS/answer" || exit 1
printf '%s\n' "$mtr_answer"
