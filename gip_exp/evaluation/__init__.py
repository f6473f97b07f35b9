"""Evaluation of a tuned model: the tasks and their requirements, serving the model, checking the adapter."""
