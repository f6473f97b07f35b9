"""Selection methods to compare with, all returning the same `Selection`.

One module per method, each with a `select` function; `less` is a package. The conventions for budgets,
candidates and ties are described in `_checks`.
"""
