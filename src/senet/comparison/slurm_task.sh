#!/bin/sh
# One task of the job array that `senet compare --cluster slurm` submits; its arguments are the command.
srun --ntasks=1 "$@"
code=$?
if [ "$code" -eq 138 ]; then # SIGUSR1: the task's time is nearly over, and its run is saved
  scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
fi
exit "$code"
