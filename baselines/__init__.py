"""Selection methods to compare with, all returning the same `Selection`.

One method a module, each with a `select`; `less` is a folder. Conventions (budget, candidates, ties):
`_checks`.
"""
