"""The parameters of a function, split into those that the harness fills and options."""

import inspect
from collections.abc import Callable, Collection
from difflib import get_close_matches
from typing import Any, get_type_hints

# name -> (type, default or `...`), the format of pydantic's create_model
Options = dict[str, tuple[Any, Any]]


def split_parameters(function: Callable[..., Any], filled: Collection[str]) -> tuple[frozenset[str], Options]:
    """Return (parameters in `filled`, the others as options).

    Raises:
        TypeError: the function has `*args`, `**kwargs` or a parameter that can be given by position only, or a parameter
            that is not filled and has neither a type nor a default, which is most often a misspelled one.
    """
    hints = get_type_hints(function, include_extras=True)
    reads, options = set(), {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(f"{name}: every parameter needs a name")
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise TypeError(f"{name}: can be given by position only, and parameters are given by name")
        if name in filled:
            reads.add(name)
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        if default is ... and name not in hints:
            meant = get_close_matches(name, filled, n=1, cutoff=0.5)
            raise TypeError(
                f"{name}: is not filled by the harness{f' (did you mean {meant[0]}?)' if meant else ''}, and an option needs "
                "a type or a default"
            )
        options[name] = (hints.get(name, Any), default)
    return frozenset(reads), options
