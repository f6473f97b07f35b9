"""The rows of a run: the user's (`rows/`, `load`, `metadata`), or a generated pool (`arithmetic/`)."""

from gip_exp.data.tables import as_examples

__all__ = ["as_examples"]
