"""Selection methods to compare with, all returning the same `Selection`.

One method a module, each with a `select`; `less` is a folder. Conventions (budget, candidates, ties):
`_checks`.
"""

# Methods whose subset for a small budget is not the head of the one for a larger budget: call them per
# budget.
NOT_NESTED = frozenset({"k_means"})
