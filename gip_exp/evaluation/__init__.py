"""Evaluating a tuned model: the tasks, what they require, serving the model, checking the adapter."""
