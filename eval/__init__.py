"""Evaluations and their statistics. A model, generator or judge is handed in, never imported."""
