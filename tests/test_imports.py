"""Data flows one way: who may import whom, checked on every import statement of every file."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PURE = ("selection", "baselines", "eval")
PACKAGES = (*PURE, "gip_exp")
HARNESS_ONLY = {"gip_exp", "hydra", "omegaconf", "wandb", "conf"}
# The rooms of gip_exp, lowest first: a room imports only from those above it in this list, none from its own line.
LAYERS = (
    (
        "device",
        "errors",
        "import_path",
        "pages",
        "parallel",
        "plotting",
        "progress",
        "quiet",
        "redaction",
        "stdout",
        "turns",
        "words",
    ),
    ("console", "storage"),
    ("llm", "registry"),
    ("config",),
    ("models", "runs", "stage"),
    ("data", "report", "signals", "training"),
    ("artifacts",),
    (
        "evaluation",
        "gip_processes",
        "handover",
        "judgements",
        "reselection",
        "selection_report",
        "selector_inputs",
        "token_budget",
    ),
    ("preflight", "result"),
    ("stages",),
    ("graph",),
    ("pipeline",),
    ("sweep",),
    ("cli", "compare", "judge", "parity", "replies", "status"),
    ("__main__", "ablations", "library", "plan"),
    ("launch",),
)
LAYER = {room: number for number, rooms in enumerate(LAYERS) for room in rooms}
# Rooms that call the pure packages; the others see what these make of it.
CALLERS = {
    "ablations",
    "compare",
    "evaluation",
    "gip_processes",
    "judgements",
    "parity",
    "registry",
    "report",
    "selection_report",
    "signals",
    "stages",
}


def imports(path: Path, types: bool = True) -> Iterator[tuple[int, str]]:
    """(line, module or name) of every import statement; `types=False` leaves out those under TYPE_CHECKING."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    blocks = [
        node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
    ]
    skipped = (
        set() if types else {inner for block in blocks for part in block.body for inner in ast.walk(part)}
    )
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, (
                f"{path}:{node.lineno}: write imports absolute, so that this test can read them"
            )
            yield node.lineno, node.module or ""
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def files(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def breaks(package: str, forbidden: set[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in files(package)
        for line, name in imports(path)
        if name.split(".")[0] in forbidden
    ]


@pytest.mark.parametrize("package", PURE)
def test_pure_packages_know_nothing_of_the_harness(package):
    assert breaks(package, HARNESS_ONLY) == []


@pytest.mark.parametrize(
    ("package", "siblings"),
    [("selection", {"baselines", "eval"}), ("eval", {"selection", "baselines"}), ("baselines", {"eval"})],
)
def test_pure_packages_import_no_sibling(package, siblings):
    assert breaks(package, siblings) == []


def test_baselines_take_only_types_checks_and_gip_as_a_rule_from_selection():
    taken = {
        name for path in files("baselines") for _, name in imports(path) if name.split(".")[0] == "selection"
    }
    allowed = ("selection.types", "selection.checks", "selection.select")  # gip_select: aggregate=gip
    assert {name for name in taken if not name.startswith(allowed)} <= {"selection", "selection.Selection"}


def room(path_or_module: Path | str) -> str:
    """The room of a file or of a module's dotted name; '' for gip_exp itself and for other packages."""
    if isinstance(path_or_module, Path):
        return path_or_module.relative_to(ROOT / "gip_exp").parts[0].removesuffix(".py")
    parts = path_or_module.split(".")
    return parts[1] if parts[0] == "gip_exp" and len(parts) > 1 else ""


def test_only_some_rooms_call_the_pure_packages():
    outside = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in files("gip_exp")
        if room(path) not in CALLERS
        for line, name in imports(path)
        if name.split(".")[0] in PURE
    ]
    assert outside == []


def test_every_room_has_a_layer():
    rooms = {room(path) for path in files("gip_exp")} - {"__init__"}
    assert rooms == set(LAYER)


def test_rooms_import_only_from_lower_layers():
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in files("gip_exp")
        if room(path) in LAYER
        for line, name in imports(path)
        if room(name) in LAYER and room(name) != room(path) and LAYER[room(name)] >= LAYER[room(path)]
    ]
    assert wrong == []


def modules() -> dict[str, Path]:
    """Every module of the project by its dotted name."""
    found = {}
    for package in PACKAGES:
        for path in files(package):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def graph() -> dict[str, set[str]]:
    """module -> modules of the project that it imports, those of type checks left out."""
    known = modules()
    arrows: dict[str, set[str]] = {}
    for module, path in known.items():
        named = {name for _, name in imports(path, types=False)}
        closest = {name if name in known else name.rpartition(".")[0] for name in named}
        arrows[module] = {name for name in closest if name in known and name != module}
    return arrows


def test_no_modules_import_each_other_in_a_circle():
    arrows = graph()
    while free := {module for module, named in arrows.items() if not named}:
        arrows = {module: named - free for module, named in arrows.items() if module not in free}
    assert arrows == {}, "each of these is in a circle, or imports one that is"


def test_the_rules_see_every_package():
    assert all(files(package) for package in PACKAGES)
