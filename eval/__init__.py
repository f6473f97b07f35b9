"""Evaluations and their statistics. Models, generators and judges are passed in, never imported."""
