"""The parameters of a function, split into those that the harness fills and options."""

import inspect
from collections.abc import Callable, Collection
from typing import Any, get_type_hints

# name -> (type, default or `...`), the format of pydantic's create_model
Options = dict[str, tuple[Any, Any]]


def split_parameters(function: Callable[..., Any], filled: Collection[str]) -> tuple[frozenset[str], Options]:
    """Return (parameters in `filled`, the others as options).

    Raises:
        TypeError: the function has `*args` or `**kwargs`.
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
