"""Sweeps: expanding them into runs, estimating their cost, plans on disk, the state of each run."""
