"""Selectors that are written wrongly: each mistake is one message that names the function and what to do."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gip_exp.errors import UserError
from gip_exp.registry import selectors
from gip_exp.registry.picks import pick
from gip_exp.registry.selectors import Selector
from selection.types import Selection

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def picked(tmp_path, monkeypatch):
    """picked(code, ...): the rows that a function `select(scores, budget)` with this body picks of ten, at least 3."""
    monkeypatch.syspath_prepend(tmp_path)

    def run(body: str, budget: int = 4, candidates: np.ndarray | None = None, package: str = "") -> list[int]:
        name = f"method_{abs(hash(body))}"
        code = f"import numpy as np\nfrom selection.types import Selection\ndef select(scores, budget):\n{body}\n"
        (tmp_path / f"{name}.py").write_text(code)
        selector = Selector("mine", f"{name}:select", frozenset({"scores"}), {}, package=package)
        scores = {"scores": np.arange(10.0)}
        return list(pick(selector, "mine", scores, n=10, budget=budget, needed=3, candidates=candidates))

    return run


def returned(rows: str, gains: str = "np.zeros(budget)") -> str:
    return f"    return Selection({rows}, {gains})"


def test_a_selection_that_fits_is_returned_and_may_leave_out_rows_that_the_run_does_not_need(picked):
    assert picked(returned("np.arange(budget)")) == [0, 1, 2, 3]
    assert picked(returned("np.arange(budget - 1)", "np.zeros(budget - 1)")) == [0, 1, 2]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("    return list(range(budget))", r"its function method_\d+:select returned list; return selection.Selection"),
        ("    pass", "returned NoneType"),
        (returned("[0]", "[0.0]"), "returned 1 rows, but budget=4 asks for as many, best first, and the run needs 3"),
        (returned("np.arange(9)", "np.zeros(9)"), "returned 9 rows, but budget=4 asks for as many"),
        (returned("np.arange(budget) + 7"), "returned row 10; the pool has the rows 0 to 9"),
        (returned("-np.arange(budget)"), "selector=mine: indices: got -3; row numbers start at 0"),
        (returned("[1, 5, 5, 2]"), "indices: row 5 appears twice"),
        (returned("np.linspace(0, 8, budget)"), r"indices: have the type float64; give row numbers \(integers\)"),
        (returned("scores > 5", "scores"), r"indices: have the type bool; .* for a mask np.flatnonzero\(mask\)"),
        (returned("np.arange(budget)", "[1, 2, np.nan, 0]"), r"the gain nan for pick 3 \(row 2\); gains are finite"),
        ("    raise ValueError('scores: too small')", "selector=mine: scores: too small$"),
        ("    return scores + np.ones(3)", r"could not be broadcast .* \(method_\d+, line 4: return scores \+ np.ones"),
    ],
)  # fmt: skip
def test_a_function_that_returns_no_such_selection_is_an_error_that_says_what_is_wrong(picked, body, problem):
    with pytest.raises(UserError, match=problem):
        picked(body)


def test_a_failure_of_an_installed_package_is_a_message_and_one_of_our_own_a_traceback(picked):
    body = "    return {'kept': scores}['picked']"
    with pytest.raises(
        UserError, match=r"selector=mine: theirs==1 raised KeyError: 'picked' \(method_\d+, line 4: "
    ):
        picked(body, package="theirs==1")
    with pytest.raises(KeyError):
        picked(body)


def test_a_row_that_must_not_be_picked_is_never_selected(picked):
    candidates = np.ones(10, dtype=bool)
    candidates[[1, 2]] = False
    with pytest.raises(UserError, match=r"picked 2 rows that `candidates` forbids \(first: row 1\)"):
        picked(returned("np.arange(budget)"), candidates=candidates)
    assert picked(returned("np.arange(3, 3 + budget)"), candidates=candidates) == [3, 4, 5, 6]


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        (
            "def select(feature, budget): ...",
            "feature: is not filled by the harness .did you mean features.*a type or a",
        ),
        ("def select(features): ...", "it has no parameter budget"),
        ("def select(features, budget, **more): ...", "more: every parameter needs a name"),
        ("def select(features, budget, /): ...", "features: can be given by position only"),
        ("def select(features, budget, *, name='x'): ...", "name: is a key of every selector"),
        ("import not_there", "cannot be imported .ModuleNotFoundError: No module named 'not_there'"),
        ("def select(features, budget)", "cannot be imported .SyntaxError: expected ':'"),
    ],
)
def test_a_definition_that_cannot_be_used_names_its_file(code, problem, tmp_path, monkeypatch):
    import baselines

    (tmp_path / "odd.py").write_text(code)
    monkeypatch.setattr(baselines, "__path__", [*baselines.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "baselines.odd", raising=False)
    with pytest.raises(UserError, match=rf"baselines/odd.py.*{problem}"):
        selectors.own.__wrapped__()


def test_a_method_that_cannot_be_imported_is_one_message_of_any_command(tmp_path):
    for folder in ("gip_exp", "selection", "baselines", "eval", "conf"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "baselines" / "odd.py").write_text("import not_there\n")
    command = [sys.executable, "-m", "gip_exp", "+experiment=quickstart"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 2
    assert done.stderr.startswith("error: baselines/odd.py cannot be imported (ModuleNotFoundError")
    assert done.stderr.count("\n") == 1


def test_a_selection_holds_row_numbers_and_may_be_empty():
    assert list(Selection(np.array([]), np.array([]))) == []
    assert Selection(np.array([3, 1], dtype=np.uint8), [0, 0]).indices.dtype == np.int64
