"""The report's figures: each function takes results and returns a matplotlib figure; `draw` writes SVG and PDF."""
