#!/bin/sh
# shellcheck disable=SC2154,SC2034  # life.sh and keeper.sh set and read these
# What a job waits for before its command: the ends of others, and free GPUs. Stands between life.sh and keeper.sh, and
# only with jobs that wait.
#
# A GPU is claimed by a file of this keeper's in /tmp/mtr-gpus, which everybody may write: GPU.PID.START.BOOT. Whoever
# wants one makes a file first and looks then: of two at the same time both see the other, and both try again later. A
# claim counts as long as its keeper lives, so none is ever left behind, and nobody removes another's.
#
# Assumptions:
# 1. Jobs that wait are queued in the order in which they began to; only the first of this user's asks for GPUs.
# 2. A GPU on which somebody computes without a claim is not free: nvidia-smi names the processes, or the memory in use.

mtr_claims=/tmp/mtr-gpus
mtr_busy_mib=1000

# Waits for the ends of the jobs $1, parted by commas; one that is not there has ended.
await_jobs() {
  for mtr_other in $(echo "$1" | tr , ' '); do
    while find_keeper "$mtr_job/../$mtr_other" && [ -n "$mtr_keeper" ]; do pause; done
  done
}

pause() { sleep 0.5 2>/dev/null || sleep 1; }

# Tells whether a job of this user that wants GPUs began to wait before this one.
is_second() {
  for mtr_q in "$mtr_job"/../*/queued; do
    mtr_d=${mtr_q%/queued}
    if [ "${mtr_d##*/}" = "${mtr_job##*/}" ] || [ ! -f "$mtr_d/wants" ]; then continue; fi
    find_keeper "$mtr_d"
    [ -n "$mtr_keeper" ] || continue
    read -r mtr_theirs <"$mtr_d/wants"
    [ "$mtr_theirs" -ge "$mtr_ticket" ] || return 0
    if [ "$mtr_theirs" -eq "$mtr_ticket" ] && [ "$mtr_keeper" -lt $$ ]; then return 0; fi
  done
  return 1
}

# Prints the indexes of GPUs on which nobody computes.
list_idle() {
  mtr_apps=" $(nvidia-smi --query-compute-apps=gpu_uuid --format=csv,noheader 2>/dev/null | tr '\n' ' ')"
  nvidia-smi --query-gpu=index,uuid,memory.used --format=csv,noheader,nounits | while IFS=', ' read -r mtr_n mtr_u mtr_m; do
    case $mtr_apps in *" $mtr_u "*) continue ;; esac
    if [ "$mtr_m" -lt "$mtr_busy_mib" ]; then echo "$mtr_n"; fi
  done
}

# Tells whether a keeper that lives has claimed the GPU $1, other than this one.
is_claimed() {
  for mtr_c in "$mtr_claims/$1".*; do
    [ -f "$mtr_c" ] || continue
    mtr_w=${mtr_c##*/}
    mtr_w=${mtr_w#*.}
    mtr_p=${mtr_w%%.*} mtr_w=${mtr_w#*.}
    [ "$mtr_p" != "$$" ] || continue
    find_start "$mtr_p"
    if [ -n "$mtr_start" ] && [ "$mtr_start.$mtr_boot" = "$mtr_w" ]; then return 0; fi
    rm -f "$mtr_c" 2>/dev/null
  done
  return 1
}

drop_claims() {
  rm -f "$mtr_claims"/*."$$.$mtr_own_start.$mtr_boot"
  rmdir "$mtr_claims"
}

# Waits until $1 GPUs are this job's, and pins them.
await_gpus() {
  command -v nvidia-smi >/dev/null || {
    echo "mtr: there is no nvidia-smi on the server, so no GPU can be waited for" >>"$mtr_job/err"
    mtr_why=failed
    finish 125
  }

  find_start $$
  mtr_own_start=$mtr_start mtr_ticket=$(date +%s)
  echo "$mtr_ticket" >"$mtr_job/wants"
  while :; do
    [ -d "$mtr_claims" ] || (umask 0 && mkdir -m 1777 "$mtr_claims")
    mtr_got='' mtr_count=0
    if ! is_second; then
      for mtr_g in $(list_idle); do
        [ "$mtr_count" -lt "$1" ] || break
        : >"$mtr_claims/$mtr_g.$$.$mtr_own_start.$mtr_boot" || continue
        if is_claimed "$mtr_g"; then
          rm -f "$mtr_claims/$mtr_g.$$.$mtr_own_start.$mtr_boot"
        else
          mtr_got="$mtr_got${mtr_got:+,}$mtr_g" mtr_count=$((mtr_count + 1))
        fi
      done
      [ "$mtr_count" -lt "$1" ] || break
      drop_claims
    fi
    pause
    # At random, so that those who lose together do not come back together.
    [ $(($$ % 2)) -eq 0 ] || pause
  done
  rm -f "$mtr_job/wants"
  export CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES="$mtr_got"
  printf '%s\n' "$mtr_got" >"$mtr_job/gpus"
}
