"""The selection report: what a selection took and left, as `selection.html`, `selection.md` and `scored.parquet`."""
