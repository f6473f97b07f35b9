"""The selection as one call from Python: `from gip_exp import select_rows`."""
