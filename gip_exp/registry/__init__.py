"""Selectors and evaluations found by name: what the harness fills, and which options a function's signature adds."""
