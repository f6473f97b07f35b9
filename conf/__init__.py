"""The configuration: Hydra groups that mirror the stages. YAML only; a package so that an installed copy finds it."""
