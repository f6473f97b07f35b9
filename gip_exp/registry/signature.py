"""A function's parameters, sorted into those that the harness fills and its own options."""

import inspect
from collections.abc import Callable, Collection
from typing import Any, get_type_hints

Options = dict[
    str, tuple[Any, Any]
]  # name -> (type, default or `...`), as pydantic's create_model takes them


def sort(function: Callable[..., Any], filled: Collection[str]) -> tuple[frozenset[str], Options]:
    """(parameters among `filled`, the others as options).

    Raises:
        TypeError: a parameter without a name (`*args`, `**kwargs`).
    """
    hints = get_type_hints(function, include_extras=True)
    reads, options = set(), {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(f"{name}: every parameter needs a name")
        if name in filled:
            reads.add(name)
        else:
            default = ... if parameter.default is parameter.empty else parameter.default
            options[name] = (hints.get(name, Any), default)
    return frozenset(reads), options
