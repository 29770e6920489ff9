#!/bin/sh
# shellcheck disable=SC2154,SC2034  # life.sh, gpus.sh and keeper.sh set and read these
# What a job waits for before its command: the ends of others, and free GPUs. Stands between life.sh (with GPUs also
# gpus.sh) and keeper.sh, and only with jobs that wait.
#
# In the directory of claims are empty files, whose names say it all, OWNER being the keeper's PID.START.BOOT:
#   w.NUMBER.OWNER   waits; the lowest NUMBER that lives is the first in line, and only that one asks for GPUs
#   g.INDEX.OWNER    has claimed that GPU, until its keeper ends
# A claim counts while its keeper lives, so none is ever left behind. Whoever wants a GPU makes the file first and looks
# for others' then: of two at the same time each sees the other, and both give way and try again.
#
# Assumptions:
# 1. A place in the line is one more than all that are seen. Two may get the same; the lower pid goes first then. Should
#    two take themselves for the first, the claims decide.
# 2. A GPU on which somebody computes without a claim is not free: nvidia-smi names the processes, or the memory in use.
#    It is asked once more behind the claim: whoever had it before may have died, and left a process on it.
# 3. One that waits for more than is ever free holds up its own user's jobs, and others' for ten minutes only.
# 4. Where /proc hides the processes of others (hidepid), a claim of theirs counts as long as it is there.

mtr_busy_mib=1000 mtr_round=0

# The longer one waits, the less it asks: after half a minute twice in three seconds.
pause() {
  mtr_round=$((mtr_round + 1))
  if [ "$mtr_round" -lt 100 ]; then
    sleep 0.3 2>/dev/null || sleep 1
  else
    sleep 1.5 2>/dev/null || sleep 2
  fi
}

# Waits for the ends of the jobs $1, parted by commas; one that is not there any more has ended.
await_jobs() {
  for mtr_other in $(echo "$1" | tr , ' '); do
    mtr_unsigned=0
    while find_keeper "$mtr_job/../$mtr_other"; do
      if [ -z "$mtr_keeper" ]; then
        # Its keeper may be about to sign; one that was killed before that never will.
        case $mtr_at$mtr_said in queued*[0-9]*) break ;; queued*) ;; *) break ;; esac
        mtr_unsigned=$((mtr_unsigned + 1))
        [ "$mtr_unsigned" -lt 25 ] || break
      fi
      pause
    done
  done
}

# Tells whether the keeper PID.START.BOOT lives.
lives() {
  case ${1%%.*} in '' | *[!0-9]*) return 1 ;; esac
  find_start "${1%%.*}"
  [ -n "$mtr_start" ] && [ "$mtr_start.$mtr_boot" = "${1#*.}" ]
}

is_own() { [ -O "$1" ]; }

# Tells whether the file $1, of somebody else, counts; removes one of a keeper that has gone.
counts() {
  mtr_owner=${1##*/}
  mtr_owner=${mtr_owner#?.*.}
  [ "$mtr_owner" != "$mtr_self" ] || return 1
  if lives "$mtr_owner"; then return 0; fi
  if [ ! -e /proc/1/stat ] && [ -e "$1" ] && ! is_own "$1"; then return 0; fi
  rm -f "$1" 2>/dev/null
  return 1
}

# Takes the last place in the line.
stand_in_line() {
  if [ -n "$mtr_place" ] && [ -f "$mtr_claims/w.$mtr_place.$mtr_self" ]; then return 0; fi
  mtr_place=0
  for mtr_f in "$mtr_claims"/w.*; do
    mtr_number=${mtr_f##*/w.}
    mtr_number=${mtr_number%%.*}
    case $mtr_number in '' | *[!0-9]* | ?????????*) continue ;; esac
    [ "$mtr_number" -lt "$mtr_place" ] || mtr_place=$mtr_number
  done
  mtr_place=$((mtr_place + 1))
  printf '' 2>/dev/null >"$mtr_claims/w.$mtr_place.$mtr_self"
}

is_first() {
  for mtr_f in "$mtr_claims"/w.*; do
    mtr_number=${mtr_f##*/w.}
    mtr_number=${mtr_number%%.*}
    case $mtr_number in '' | *[!0-9]* | ?????????*) continue ;; esac
    if [ "$mtr_number" -gt "$mtr_place" ] || ! counts "$mtr_f"; then continue; fi
    mtr_p=${mtr_owner%%.*}
    if [ "$mtr_number" -eq "$mtr_place" ] && [ "$mtr_p" -gt $$ ]; then continue; fi
    if is_own "$mtr_f" || [ -n "$(find "$mtr_f" -mmin -10 2>/dev/null)" ]; then return 1; fi
  done
}

is_claimed() {
  for mtr_f in "$mtr_claims/g.$1".*; do
    if [ -f "$mtr_f" ] && counts "$mtr_f"; then return 0; fi
  done
  return 1
}

# Sets mtr_idle to the indexes of the GPUs on which nobody computes, with blanks around each.
load_idle() {
  mtr_idle=' '
  mtr_asked=no
  load_cards && ask_smi --query-compute-apps=gpu_uuid --format=csv,noheader || return 1
  mtr_asked=yes
  mtr_apps=" $(printf '%s\n' "$mtr_answer" | tr '\n' ' ')"
  while IFS=', ' read -r mtr_n mtr_u mtr_m; do
    case $mtr_apps in *" $mtr_u "*) continue ;; esac
    # Some do not tell: [N/A].
    case $mtr_m in '' | *[!0-9]*) mtr_m=0 ;; esac
    if [ "$mtr_m" -lt "$mtr_busy_mib" ]; then mtr_idle="$mtr_idle$mtr_n "; fi
  done <<CARDS
$mtr_cards
CARDS
}

# Claims $1 GPUs, all of them or none, and sets mtr_got.
claim_gpus() {
  load_idle || return 1
  mtr_got='' mtr_count=0
  for mtr_g in $mtr_idle; do
    if [ "$mtr_count" -ge "$1" ] || is_claimed "$mtr_g"; then continue; fi
    mtr_got="$mtr_got${mtr_got:+ }$mtr_g" mtr_count=$((mtr_count + 1))
  done
  [ "$mtr_count" -ge "$1" ] || return 1
  for mtr_g in $mtr_got; do
    printf '' 2>/dev/null >"$mtr_claims/g.$mtr_g.$mtr_self" || return 1
  done
  for mtr_g in $mtr_got; do
    if is_claimed "$mtr_g"; then return 1; fi
  done
  load_idle || return 1
  for mtr_g in $mtr_got; do
    case $mtr_idle in *" $mtr_g "*) ;; *) return 1 ;; esac
  done
}

drop_claims() {
  [ -z "$mtr_smi" ] || kill -9 "$mtr_smi"
  rm -f "$mtr_job/smi"
  [ -z "$mtr_self" ] || rm -f "$mtr_claims"/g.*."$mtr_self" "$mtr_claims"/w.*."$mtr_self"
  rmdir "$mtr_claims"
}

# Lets list.sh tell why nobody knows of free GPUs, as long as that is so.
note_trouble() {
  if [ "$mtr_asked" = no ]; then
    printf '%s\n' "$mtr_answer" >"$mtr_job/trouble"
  else
    rm -f "$mtr_job/trouble"
  fi
}

# Waits until $1 GPUs are this job's, and pins them.
mtr_self='' mtr_place=''
await_gpus() {
  find_start $$
  mtr_self=$$.$mtr_start.$mtr_boot mtr_round=0 mtr_leads=
  while :; do
    if ! open_claims; then
      printf 'mtr: %s\n' "$mtr_answer" >>"$mtr_job/err"
      mtr_why=failed
      finish 125
    fi
    if stand_in_line && is_first; then
      [ -n "$mtr_leads" ] || mtr_leads=yes mtr_round=0
      if claim_gpus "$1"; then break; fi
      rm -f "$mtr_claims"/g.*."$mtr_self"
      note_trouble
      # At random, so that those who lose together do not come back together.
      sleep "0.$(od -An -N1 -tu1 /dev/urandom | tr -d ' ')" || :
    fi
    pause
  done
  rm -f "$mtr_claims/w.$mtr_place.$mtr_self" "$mtr_job/trouble"
  mtr_got=$(echo "$mtr_got" | tr ' ' ,)
  export CUDA_DEVICE_ORDER=PCI_BUS_ID CUDA_VISIBLE_DEVICES="$mtr_got"
  printf '%s\n' "$mtr_got" >"$mtr_job/gpus"
}
