#!/bin/sh
# Puts a Python environment in front of what runs next: what `conda activate` or a venv's `activate` does, without any
# rc file and without starting conda.
#
# It is not run by itself: the gate's inner shell evaluates it before pre_cmd, in the project's directory, after
#   mtr_python=conda:NAME | conda:PREFIX | venv:DIRECTORY
# A directory that is relative is below the project's; one that begins with ~/ is below the home directory.
#
# An environment that is not there is a refusal: "python", then for people what was found instead.
#
# Assumptions:
# 1. The shell may be zsh: no text is split into words, no glob may match nothing, no trap is set in a function.
# 2. conda writes the place of each environment that it makes into ~/.conda/environments.txt, one in a line.
# 3. An environment of conda's has a folder conda-meta; what its packages and `conda env config vars` set is in
#    etc/conda/activate.d and in conda-meta/state (conda, activate.py).

# shellcheck disable=SC2154  # the gate sets it
mtr_name=${mtr_python#*:} mtr_prefix='' mtr_base='' mtr_found=''
case $mtr_name in \~/*) mtr_name=$HOME/${mtr_name#\~/} ;; esac

# Prints where conda may be installed, a directory in each line, likely ones first.
mtr_roots() {
  mtr_exe=$(command -v conda || command -v mamba || command -v micromamba)
  printf '%s\n' "${CONDA_EXE:+${CONDA_EXE%/*/*}}" "${MAMBA_ROOT_PREFIX-}" "${mtr_exe:+${mtr_exe%/*/*}}"
  for mtr_d in "$HOME" /opt /usr/local; do
    for mtr_n in miniconda3 miniforge3 mambaforge anaconda3 micromamba conda miniconda anaconda; do
      printf '%s\n' "$mtr_d/$mtr_n"
    done
  done
  printf '%s\n' "$HOME/.conda" "$HOME/.local/share/mamba"
}

# Prints the environments of conda's that are there, a prefix in each line.
mtr_prefixes() {
  mtr_roots | while IFS= read -r mtr_d; do
    if [ -n "$mtr_d" ] && [ -d "$mtr_d/conda-meta" ]; then printf '%s\n' "$mtr_d"; fi
    if [ -n "$mtr_d" ] && [ -d "$mtr_d/envs" ]; then
      # shellcheck disable=SC2012  # a glob that matches nothing is an error in zsh
      ls "$mtr_d/envs" | while IFS= read -r mtr_n; do printf '%s\n' "$mtr_d/envs/$mtr_n"; done
    fi
  done
  if [ -f "$HOME/.conda/environments.txt" ]; then cat "$HOME/.conda/environments.txt"; fi
}

case $mtr_python in
  venv:*)
    case $mtr_name in /*) mtr_prefix=$mtr_name ;; *) mtr_prefix=$PWD/$mtr_name ;; esac
    if [ -x "$mtr_prefix/bin/python" ]; then
      export VIRTUAL_ENV="$mtr_prefix"
    else
      mtr_found="no bin/python in $mtr_prefix" mtr_prefix=''
    fi
    ;;
  conda:*)
    while IFS= read -r mtr_d; do
      if [ -d "$mtr_d/conda-meta" ]; then
        # The one in base's place is called base; any other by the last part of its path.
        mtr_n=${mtr_d##*/}
        case $mtr_d in */envs/*) ;; *) if [ -x "$mtr_d/bin/conda" ] || [ -d "$mtr_d/condabin" ]; then mtr_n=base; fi ;; esac
        mtr_found="$mtr_found $mtr_n"
        if [ -z "$mtr_prefix" ] && { [ "$mtr_name" = "$mtr_n" ] || [ "$mtr_name" = "$mtr_d" ]; }; then
          mtr_prefix=$mtr_d CONDA_DEFAULT_ENV=$mtr_n
        fi
      fi
    done <<MTR
$(case $mtr_name in /*) printf '%s\n' "$mtr_name" ;; *) mtr_prefixes ;; esac)
MTR
    if [ -n "$mtr_prefix" ]; then
      mtr_base=${mtr_prefix%/envs/*}
      if [ -d "$mtr_base/condabin" ]; then PATH=$mtr_base/condabin:$PATH; fi
      if [ -x "$mtr_base/bin/conda" ]; then export CONDA_EXE="$mtr_base/bin/conda"; fi
      export CONDA_PREFIX="$mtr_prefix" CONDA_DEFAULT_ENV CONDA_SHLVL=1
    else
      mtr_found="conda has here:${mtr_found:- nothing that was found}"
    fi
    ;;
esac
if [ -z "$mtr_prefix" ]; then
  # shellcheck disable=SC2154  # the gate sets it
  printf '%s\n' python "$mtr_found" >"$mtr_no"
  trap - EXIT
  exit 125
fi

export PATH="$mtr_prefix/bin:$PATH"
unset PYTHONHOME
if [ -f "$mtr_prefix/conda-meta/state" ] && [ -n "$mtr_base" ]; then
  mtr_vars=$("$mtr_prefix/bin/python" -I -S -c '
import json, shlex, sys
for name, value in json.load(open(sys.argv[1])).get("env_vars", {}).items():
    if name.isidentifier() and value != "***unset***":
        print(f"export {name}={shlex.quote(str(value))}")
' "$mtr_prefix/conda-meta/state")
  eval "$mtr_vars"
fi
if [ -d "$mtr_prefix/etc/conda/activate.d" ] && [ -n "$mtr_base" ]; then
  while IFS= read -r mtr_n; do
    # shellcheck disable=SC1090
    case $mtr_n in *.sh) . "$mtr_prefix/etc/conda/activate.d/$mtr_n" </dev/null ;; esac
  done <<MTR
$(ls "$mtr_prefix/etc/conda/activate.d")
MTR
fi
unset mtr_name mtr_prefix mtr_base mtr_found mtr_exe mtr_d mtr_n mtr_python
unset -f mtr_roots mtr_prefixes
