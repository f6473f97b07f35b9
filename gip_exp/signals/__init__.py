"""Scores of rows: the rule judge, LLM judges, signal tables with summary and figure."""
