"""The report's figures: each function takes results and returns a matplotlib figure; `style.save` writes SVG
and PDF.
"""
