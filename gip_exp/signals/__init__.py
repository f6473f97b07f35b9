"""Scores of rows: the rule judge, LLM judges, the table they are kept in, its summary and figure."""
