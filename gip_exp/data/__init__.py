"""Rows: reading people's files, the quickstart's made-up problems, metadata columns, the held-out split."""
