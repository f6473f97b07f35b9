"""GIP: greedy information projection. Arrays in, Selection out."""
