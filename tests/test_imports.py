"""Data flows one way: who may import whom, checked on every import statement of every file."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PURE = ("selection", "baselines", "eval")
PACKAGES = (*PURE, "gip_exp")
HARNESS_ONLY = {"gip_exp", "hydra", "omegaconf", "wandb", "conf"}
# Inside the harness, lower may not import higher.
LAYERS = {
    "errors": 0,
    "files": 0,
    "config": 1,
    "store": 1,
    "console": 1,
    "stage": 2,
    "stages": 3,
    "report": 4,
    "result": 4,
    "pipeline": 5,
    "cell": 6,
    "ablations": 6,
}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
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


def test_baselines_take_only_types_and_checks_from_selection():
    taken = {
        name for path in files("baselines") for _, name in imports(path) if name.split(".")[0] == "selection"
    }
    allowed = ("selection.types", "selection.checks")
    assert {name for name in taken if not name.startswith(allowed)} <= {"selection", "selection.Selection"}


def test_only_stages_the_report_and_ablations_call_the_pure_packages():
    outside = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in files("gip_exp")
        if path.parts[-2] not in ("stages", "report", "ablations")
        for line, name in imports(path)
        if name.split(".")[0] in PURE
    ]
    assert outside == []


def test_inside_the_harness_lower_layers_import_no_higher_ones():
    wrong = []
    for path in files("gip_exp"):
        mine = LAYERS.get(path.relative_to(ROOT / "gip_exp").parts[0].removesuffix(".py"))
        if mine is None:
            continue
        for line, name in imports(path):
            parts = name.split(".")
            theirs = LAYERS.get(parts[1]) if parts[0] == "gip_exp" and len(parts) > 1 else None
            if theirs is not None and theirs > mine:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {name}")
    assert wrong == []


def test_the_rules_see_every_package():
    assert all(files(package) for package in PACKAGES)
