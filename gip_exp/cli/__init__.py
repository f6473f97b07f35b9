"""The command line: one run from config to closing table, planned runs from files, Hydra's errors in plain words."""
