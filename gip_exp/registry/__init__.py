"""Selectors, judges, embedders and evaluations, found by name; their config options come from function signatures."""
