"""Embedders that are one function: `embed` in `<kind>.py`, with `conf/embedder/<kind>.yaml` beside it."""
