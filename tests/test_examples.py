"""The examples in the docstrings of the pure packages run, and every public function is shown in one."""

import ast
import doctest
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("selection", "baselines", "eval")
# Kernels and their preparation: called by `gip_select` alone, documented by shapes and formulas.
INTERNAL = {
    "selection.checks",
    "selection.communicate",
    "selection.objective",
    "selection.plain",
    "selection.prepare",
    "selection.problem",
    "selection.query",
    "selection.torch_settings",
}


def modules() -> list[str]:
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for path in paths
    ]
    return [name for name in names if not name.startswith("selection.fast")]


def examples(name: str) -> list[doctest.DocTest]:
    found = doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name), name)
    return [test for test in found if test.examples]


def source(name: str) -> ast.Module:
    path = ROOT.joinpath(*name.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(path.read_text(encoding="utf-8"))


def public_functions(name: str) -> list[str]:
    return [
        node.name
        for node in source(name).body
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_")
    ]


@pytest.mark.parametrize("name", [name for name in modules() if ">>>" in ast.unparse(source(name))])
def test_examples_run_and_give_what_they_say(name):
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS, verbose=False)
    for test in examples(name):
        said: list[str] = []
        runner.run(test, out=said.append)
        assert not runner.failures, "".join(said)


def test_every_public_function_is_shown_in_an_example():
    import selection

    shown = "\n".join(example.source for test in examples("selection.objective") for example in test.examples)
    assert all(f"{name}(" in shown for name in selection.__all__ if name.islower() and name != "gip_select")
    open_modules = [
        name for name in modules() if name not in INTERNAL and not name.split(".")[-1].startswith("_")
    ]
    for name in open_modules:
        shown = "\n".join(example.source for test in examples(name) for example in test.examples)
        missing = [
            function for function in public_functions(name) if not re.search(rf"\b{function}\b", shown)
        ]
        assert missing == [], name
