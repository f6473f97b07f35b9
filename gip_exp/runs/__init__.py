"""Run folders: their files, who is at work on one, tracking, SLURM's word on jobs."""
