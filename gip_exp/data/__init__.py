"""The rows a run starts from: people's own (`rows/`, `load`, `metadata`), and a pool made on the spot (`arithmetic/`)."""

from gip_exp.data.tables import as_examples

__all__ = ["as_examples"]
