"""The stages, one module each: adapters between config and store, and `selection`, `baselines` and `eval`."""
