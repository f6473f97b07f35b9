"""Embedders that are one function: `embed` in `<kind>.py`, with the options in `conf/embedder/<kind>.yaml`."""
