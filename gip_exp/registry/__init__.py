"""Selectors, judges, embedders and evaluations found by name: what the harness fills, which options a signature adds."""
