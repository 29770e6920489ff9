#!/bin/sh
# shellcheck disable=SC2154  # life.sh sets what it says
# What is known of the GPUs here, asked of nvidia-smi and never for longer than 20 s. Stands behind life.sh, in front of
# start.sh and of queue.sh, for jobs that want some.
#
# Assumptions:
# 1. A driver that hangs holds nvidia-smi in the kernel, where not even KILL ends it: nobody waits for it.
# 2. GPUs are claimed in a directory that all users of the server share; MTR_GPU_CLAIMS names another one where /tmp is
#    not shared, as between containers. Whoever makes it lets everybody write, and each removes only what is theirs.

mtr_claims=${MTR_GPU_CLAIMS:-/tmp/mtr-gpus}
mtr_smi='' mtr_file=

# ask_smi WORDS: sets mtr_answer to what nvidia-smi says; fails where that is no answer, with words instead.
ask_smi() {
  if [ -n "${MTR_JOB-}" ] && [ -d "${mtr_job-}" ]; then
    # It goes with the job, should its keeper be killed.
    mtr_file=$mtr_job/smi
  elif ! mtr_file=$(mktemp "${TMPDIR:-/tmp}/mtr-smi.XXXXXX"); then
    mtr_answer='no file can be made for what nvidia-smi says'
    return 1
  fi
  nvidia-smi "$@" >"$mtr_file" 2>&1 </dev/null &
  mtr_smi=$! mtr_ticks=0
  while find_start "$mtr_smi" && [ -n "$mtr_start" ] && [ "$mtr_ticks" -lt 400 ]; do
    mtr_ticks=$((mtr_ticks + 1))
    sleep 0.05 2>/dev/null || {
      sleep 1
      mtr_ticks=$((mtr_ticks + 19))
    }
  done
  if [ -n "$mtr_start" ]; then
    kill -9 "$mtr_smi"
    mtr_smi_s=1 mtr_answer='nvidia-smi does not answer'
  else
    wait "$mtr_smi"
    mtr_smi_s=$? mtr_answer=$(cat "$mtr_file")
  fi
  mtr_smi=
  rm -f "$mtr_file"
  return "$mtr_smi_s"
}

# Sets mtr_cards to a line "INDEX, UUID, MIB" for each GPU, and mtr_card_count; fails with words in mtr_answer.
load_cards() {
  if ! command -v nvidia-smi >/dev/null; then
    mtr_answer="there is no nvidia-smi in $PATH"
    return 1
  fi
  ask_smi --query-gpu=index,uuid,memory.used --format=csv,noheader,nounits || return 1
  mtr_cards=$(printf '%s\n' "$mtr_answer" | grep '^[0-9][0-9]*, *[^ ,]*,')
  mtr_card_count=$(printf '%s\n' "$mtr_cards" | grep -c .)
}

# Sees that claims can be made; fails with words in mtr_answer.
open_claims() {
  [ -d "$mtr_claims" ] || (umask 0 && mkdir -m 1777 "$mtr_claims") 2>/dev/null
  if [ -L "$mtr_claims" ] || [ ! -d "$mtr_claims" ] || [ ! -w "$mtr_claims" ]; then
    # Another keeper may just have removed it, and it is nobody's fault.
    if [ ! -e "$mtr_claims" ] && [ ! -L "$mtr_claims" ]; then return 0; fi
    mtr_answer="GPUs are claimed in $mtr_claims, which must be a directory that everybody may write, and is not: $(ls -ld "$mtr_claims" 2>&1)"
    return 1
  fi
}

# Tells whether $1 GPUs could ever be had here, and says why not.
check_gpus() {
  if ! load_cards; then
    echo "no GPU can be waited for: $mtr_answer"
  elif [ "$mtr_card_count" -lt "$1" ]; then
    echo "there are $mtr_card_count GPUs here, and the job wants $1"
    [ "$mtr_card_count" = 0 ] || printf '%s\n' "$mtr_cards" | sed 's/$/ MiB in use/'
  elif ! open_claims; then
    echo "$mtr_answer"
  else
    rmdir "$mtr_claims" 2>/dev/null
    return 0
  fi
  return 1
}
