"""Run folders: their files, the run lock, tracking, SLURM job states."""
