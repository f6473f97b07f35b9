"""Digests of the code behind a stage output: its build function and the project code that the function uses.

Starting from a function, the names in its body are followed through the project's modules (and through the package of an
installed selector), definition by definition. Definitions are compared by syntax tree, so comments, layout, docstrings
and annotations of functions do not count. Methods count as part of their class, wherever the class is named. A stage
adds the functions that it looks up at run time (`Stage.code`). No code is imported or run.

Example:
    >>> sorted(code_of("baselines.random:select"))[0]
    'baselines/_checks.py'
"""

import ast
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

OWN = ("gip_exp", "selection", "baselines", "eval")
# Not followed, because it cannot change the content of an output; settings are in the key by value.
IGNORED = (
    *(f"gip_exp.{name}" for name in ("config", "console", "errors", "plotting", "quiet", "redaction")),
    *(f"gip_exp.{name}" for name in ("registry", "stage", "storage", "runs", "pipeline")),
    *(
        f"gip_exp.llm.{name}"
        for name in ("cache", "client", "connections", "errors", "estimate", "kept_server")
    ),
    *(
        f"gip_exp.llm.{name}"
        for name in (
            "loopback",
            "prices",
            "progress",
            "replicas",
            "server",
            "server_log",
            "supervise",
            "transport",
        )
    ),
    "gip_exp.training.torchrun",
    "selection.distributed",  # its picks are those of gip_select, whose code counts
)
Root = str | Callable[..., Any]  # "module:name", or the function itself


@dataclass(frozen=True)
class _Module:
    """A parsed module.

    Attributes:
        file: Path relative to the folder of its package.
        definitions: Top-level statements by the name they define.
        imports: Imported name -> (module, name in the module or None).
        loose: Top-level statements that define no name.
    """

    file: str
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    loose: list[ast.stmt] = field(default_factory=list)


def code_of(*roots: Root) -> dict[str, str]:
    """Compute a digest of the code that functions use, by source file.

    Args:
        roots: Functions, or their names as `module:name`.

    Returns:
        File (relative to the folder its package is in) -> 12 hex digits, sorted by file.
    """
    return dict(_code_of(tuple(_qualified_name(root) for root in roots)))


@cache
def _code_of(roots: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    packages = frozenset({*OWN, *(root.partition(":")[0].partition(".")[0] for root in roots)})
    used: dict[str, set[str]] = {}  # module -> names
    waiting = [(module, name or None) for module, _, name in (root.partition(":") for root in roots)]
    while waiting:
        module, name = waiting.pop()
        waiting += _follow(module, name, packages, used)
    return tuple(sorted((_parsed(module).file, _digest(module, names)) for module, names in used.items()))


def _qualified_name(root: Root) -> str:
    if isinstance(root, str):
        return root
    while isinstance(root, partial):
        root = root.func
    return f"{root.__module__}:{root.__qualname__.partition('.')[0]}"


def _follow(
    module: str, name: str | None, packages: frozenset[str], used: dict[str, set[str]]
) -> Iterator[tuple[str, str | None]]:
    """Add a definition (for a name of None, the whole module) to `used`; yield the definitions it refers to."""
    if module.partition(".")[0] not in packages or _in(module, IGNORED) or _source(module) is None:
        return
    if name is not None and _source(f"{module}.{name}") and name not in _parsed(module).definitions:
        yield f"{module}.{name}", None
        return
    found = _parsed(module)
    if name is not None and name not in found.definitions:
        if name in found.imports:
            yield found.imports[name]
        return
    known = used.setdefault(module, set())
    for wanted in list(found.definitions) if name is None else [name]:
        if wanted not in known:
            known.add(wanted)
            yield from (*_used_by(module, wanted), *_used_by(module, None))


@cache
def _used_by(module: str, name: str | None) -> tuple[tuple[str, str | None], ...]:
    """Return (module, name) of what a definition refers to; for None, of what statements that define no name do."""
    found = _parsed(module)
    statements = found.loose if name is None else found.definitions[name]
    return tuple(dict.fromkeys(to for one in statements for to in _references(one, module, found)))


def _references(statement: ast.stmt, module: str, found: _Module) -> Iterator[tuple[str, str | None]]:
    """Yield (module, name) of the project definitions that a statement refers to."""
    nodes = list(ast.walk(statement))
    bound = dict(found.imports)
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            bound |= _bound(node)
    inside = {node.value for node in nodes if isinstance(node, ast.Attribute)}
    for node in nodes:
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in bound:
            target, name = bound[node.value.id]
            whole = target if name is None else f"{target}.{name}"
            yield (whole, node.attr) if name is None or _source(whole) else (target, name)
        elif isinstance(node, ast.Name) and node not in inside:
            if node.id in found.definitions:
                yield module, node.id
            elif node.id in bound:
                yield bound[node.id]
        elif isinstance(node, ast.Name) and node.id in found.definitions:
            yield module, node.id


@cache
def _parsed(module: str) -> _Module:
    path, root = _source(module), _root(module.partition(".")[0])
    assert path is not None
    assert root is not None
    found = _Module(path.relative_to(root).as_posix())
    for statement in _Plain().visit(ast.parse(path.read_text(encoding="utf-8"))).body:
        _sort(statement, found)
    return found


def _sort(statement: ast.stmt, found: _Module) -> None:
    if isinstance(statement, ast.Import | ast.ImportFrom):
        found.imports.update(_bound(statement))
    elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        found.definitions.setdefault(statement.name, []).append(statement)
    elif isinstance(statement, ast.If | ast.Try):
        for inner in ast.iter_child_nodes(statement):
            if isinstance(inner, ast.stmt):
                _sort(inner, found)
    else:
        names = [
            n.id for n in ast.walk(statement) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)
        ]
        for name in names:
            found.definitions.setdefault(name, []).append(statement)
        if not names:
            found.loose.append(statement)


def _bound(node: ast.Import | ast.ImportFrom) -> dict[str, tuple[str, str | None]]:
    """Return the names that an absolute import binds (a test allows no others)."""
    if isinstance(node, ast.ImportFrom):
        return {alias.asname or alias.name: (node.module or "", alias.name) for alias in node.names}
    return {alias.asname or alias.name: (alias.name, None) for alias in node.names}


class _Plain(ast.NodeTransformer):
    """Removes what cannot change a result: docstrings, other string statements, annotations of functions."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def _function(self, node: Any) -> ast.AST:
        node.returns = None
        for argument in ast.walk(node.args):
            if isinstance(argument, ast.arg):
                argument.annotation = None
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        # Part of the digest (fields of dataclasses), but its names are not followed.
        node.annotation = ast.Constant(ast.unparse(node.annotation))
        return node

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else self.generic_visit(node)


def _digest(module: str, names: set[str]) -> str:
    whole = hashlib.sha256()
    for name in (*sorted(names), None):
        whole.update(f"{name}\n{_dumped(module, name)}\n".encode())
    return whole.hexdigest()[:12]


@cache
def _dumped(module: str, name: str | None) -> str:
    """Return the syntax trees of a definition as text; for None, of the statements that define no name."""
    found = _parsed(module)
    statements = found.loose if name is None else found.definitions[name]
    return "\n".join(map(ast.dump, statements))


@cache
def _source(module: str) -> Path | None:
    """Return the file of a module, found without importing its packages; None if there is no such module."""
    root = _root(module.partition(".")[0])
    if root is None:
        return None
    path = root.joinpath(*module.split("."))
    files = (path / "__init__.py", path.with_name(f"{path.name}.py"))
    return next((file for file in files if file.is_file()), None)


@cache
def _root(package: str) -> Path | None:
    """Return the folder that contains a top-level package or module."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return None
    file = Path(spec.origin)
    return file.parent.parent if file.name == "__init__.py" else file.parent


def _in(module: str, places: tuple[str, ...]) -> bool:
    return any(module == place or module.startswith(f"{place}.") for place in places)
