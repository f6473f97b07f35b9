"""The command line: runs, sweeps, planned runs, and messages for Hydra's errors."""
