#!/bin/bash
# slurm/submit.sh DIR: submit the unfinished runs of the plan in DIR (python -m gip_exp.plan ... --write DIR).
# Runs that are done, queued or running are not submitted again. slurm/README.md describes the variables.
set -euo pipefail
[ $# -eq 1 ] && [ -f "$1/plan.json" ] || { echo "usage: slurm/submit.sh DIR   (a folder written by gip_exp.plan --write)" >&2; exit 2; }
plan=$(cd "$1" && pwd)
here=$(cd "$(dirname "$0")" && pwd)
python=${GIP_PYTHON:-python}

todo() { "$python" -m gip_exp.status "$plan" --todo "$1"; }
cpu=$(todo cpu) # separate lines, so that `set -e` sees a failure of each
gpu=$(todo gpu)
train=$(todo train)
at_once=${GIP_PARALLEL:+%$GIP_PARALLEL}

submit() { # submit FILE ARRAY [sbatch options]: print the job's id and record it for gip_exp.status
  local file=$1 array=$2 id
  shift 2
  id=$(sbatch --parsable --array="$array" --output="$plan/logs/%x-%A_%a.out" ${GIP_ACCOUNT:+--account="$GIP_ACCOUNT"} \
    ${GIP_QOS:+--qos="$GIP_QOS"} "$@" "$here/$file" "$plan")
  id=${id%%;*} # without the name of the cluster, which follows if there are several
  echo "$id" >>"$plan/jobs.txt"
  echo "$id"
}
# sbatch options of the two kinds of nodes: partition, GPU and others.
on_cpu=(${GIP_CPU_PARTITION:+--partition="$GIP_CPU_PARTITION"} ${GIP_CPU_ARGS:-})
on_gpu=(${GIP_GPU_PARTITION:+--partition="$GIP_GPU_PARTITION"} ${GIP_GPU_ARGS---gpus=1})
# aftercorr is afterok per task: a run trains after its own selection; a failed selection does not block other runs.
after() { echo "--dependency=${GIP_DEPENDENCY:-aftercorr}:$1 --kill-on-invalid-dep=yes"; }

[ -n "$cpu$gpu$train" ] || { echo "nothing to submit: every run is done, queued or running"; exit 0; }
if [ -n "$cpu" ]; then
  id=$(submit select.sbatch "$cpu$at_once" "${on_cpu[@]}")
  echo "selection of runs $cpu: job $id"
  echo "training of runs $cpu after it: job $(submit train.sbatch "$cpu$at_once" "${on_gpu[@]}" $(after "$id"))"
fi
if [ -n "$gpu" ]; then # LESS and hidden states: one at a time, because runs share the expensive outputs
  id=$(submit select.sbatch "$gpu%1" "${on_gpu[@]}")
  echo "selection of runs $gpu, which needs the model: job $id"
  echo "training of runs $gpu after it: job $(submit train.sbatch "$gpu$at_once" "${on_gpu[@]}" $(after "$id"))"
fi
if [ -n "$train" ]; then
  echo "training of runs $train, selected already: job $(submit train.sbatch "$train$at_once" "${on_gpu[@]}")"
fi
echo "watch with: python -m gip_exp.status $plan --watch"
