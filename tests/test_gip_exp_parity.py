"""The parity command: peers that agree, a peer that disagrees or breaks, and peers that are not there."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from gip_exp.parity import checkouts, geometry, harness
from gip_exp.parity.__main__ import main
from gip_exp.parity.agreement import Outcome, Pool, same_numbers, same_picks
from gip_exp.parity.registry import COMPARISONS, Comparison

# As in the authors' file: a line that Python cannot parse, a signature over several lines, a device.
DISF = """from create_datasets import Reader,
import torch

def off_diagonal(x):
    return x[~torch.eye(len(x), dtype=bool)]

def cal_corre(rows):

    centred = rows - rows.mean(0)
    unit = centred / (rows.var(0) + 1e-8).sqrt()
    return (off_diagonal(unit.T @ unit / (len(rows) - 1)) ** 2).sum()

def hunger_select(
    feature,
    top_k=4,
    batch_size=8):
    rows = torch.tensor(feature).to("cuda:"+str(device_id))
    picks = [random.randint(0, batch_size - 1)]
    while len(picks) < top_k:
        left = [i for i in range(batch_size) if i not in picks]
        picks.append(LARGEST(left, key=lambda i: float(cal_corre(rows[[*picks, i]]))))
    return picks, rows[picks]

def select(feature):
    raise NotImplementedError
"""


def test_what_is_installed_agrees_and_what_is_not_is_named(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    assert main([]) == 0
    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if line[:3] in ("yes", "NO ", "  -")]
    assert len(lines) == len(COMPARISONS)
    of_lm_eval = [line for line in lines if "lm-eval" in line]
    assert len(of_lm_eval) == 3
    assert all(line.startswith("yes") for line in of_lm_eval)
    assert "24 of 24 prompts, 2 of 2 scores equal" in printed
    assert "no checkout: --disf PATH" in printed
    for line in lines:
        assert line.startswith("yes") or "not installed: pip install " in line or "no checkout" in line


def only(monkeypatch, comparison: Comparison) -> None:
    monkeypatch.setattr("gip_exp.parity.__main__.COMPARISONS", (comparison,))


def fake_apricot(ranking):
    """A module `apricot` whose facility location ranks as `ranking` says."""

    class FacilityLocationSelection:
        def __init__(self, n_samples, **_):
            self.n = n_samples

        def fit(self, similar):
            covered, picks, gains = np.zeros(len(similar)), [], []
            for _ in range(self.n):
                gain = np.maximum(similar - covered, 0).sum(axis=1)
                gain[picks] = -1
                picks.append(int(gain.argmax()))
                gains.append(gain[picks[-1]])
                covered = np.maximum(covered, similar[picks[-1]])
            return SimpleNamespace(ranking=ranking(np.array(picks)), gains=np.array(gains))

    spec = SimpleNamespace(name="apricot")
    return SimpleNamespace(FacilityLocationSelection=FacilityLocationSelection, __spec__=spec)


@pytest.mark.parametrize(("ranking", "code"), [(lambda picks: picks, 0), (lambda picks: picks[::-1], 1)])
def test_a_peer_with_other_picks_is_exit_code_1(ranking, code, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    cover = next(one for one in COMPARISONS if one.module == "apricot")
    only(monkeypatch, cover)
    monkeypatch.setitem(sys.modules, "apricot", fake_apricot(ranking))
    assert main([]) == code
    printed = capsys.readouterr().out
    assert ("\nNO " in "\n" + printed) == bool(code)
    assert ("100 of 100 picks equal" in printed) != bool(code)


def test_a_peer_that_breaks_is_a_row_and_exit_code_1(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")

    def run(pool):
        raise AttributeError("no such function in this version")

    only(monkeypatch, Comparison("dsir", "weights", run))
    assert main([]) == 1
    assert "could not run: AttributeError: no such function" in capsys.readouterr().out


def test_a_package_that_is_not_installed_counts_only_with_all(capsys, monkeypatch):
    only(
        monkeypatch,
        Comparison("dsir", "weights", lambda _: Outcome(True, "", 0, 0), "no-such", "no_such_x"),
    )
    monkeypatch.setenv("COLUMNS", "250")
    assert main([]) == 0
    assert "not installed: pip install no-such" in capsys.readouterr().out
    assert main(["--all"]) == 1


def test_a_checkout_is_read_without_importing_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setattr(checkouts, "BATCH", 24)
    monkeypatch.setattr(checkouts, "PICKS", 5)
    only(monkeypatch, next(one for one in COMPARISONS if one.checkout == "disf"))
    file = tmp_path / "DISF" / "select_disf.py"
    file.parent.mkdir()
    for rule, code in (("min", 0), ("max", 1)):
        file.write_text(DISF.replace("LARGEST", rule))
        assert main(["--disf", str(tmp_path)]) == code
    assert "5 of 5 picks equal" in capsys.readouterr().out
    file.write_text(DISF.replace("def cal_corre", "def correlation"))
    assert main(["--disf", str(tmp_path)]) == 2
    assert "has no function cal_corre" in capsys.readouterr().err


def test_a_folder_that_is_no_checkout_is_one_message(tmp_path, capsys):
    assert main(["--less", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "there is no less/data_selection/matching.py; give a checkout of princeton-nlp/LESS" in error


@pytest.mark.parametrize("compare", [harness.gsm8k_and_lm_eval, harness.bbh_and_lm_eval])
def test_some_scripted_replies_are_right_and_some_wrong(compare, monkeypatch):
    """Otherwise the scores could agree without being read."""
    seen = []
    monkeypatch.setattr(harness, "_compared", lambda *results: seen.append(results[0][1]))
    compare(Pool())
    for metric in seen[0].metrics.values():
        assert 0 < metric.value < 1


def test_agreement_says_where_results_differ():
    assert same_picks([1, 2, 3], [1, 3, 2]) == (False, "1 of 3 picks equal, 3 in common")
    assert not same_picks([1, 2], [1, 2, 3])[0]
    assert same_numbers([1.0, 2.0], [1.0, 2.5], 0.1) == (False, "largest relative difference 2.0e-01")
    assert same_numbers([1.0, 2.0], [1.0, 2.1], 0.1)[0]
    assert not same_numbers([1.0], [1.0, 2.0], 1)[0]


def test_gip_follows_its_definition_for_any_pool():
    assert all(geometry.gip_and_definition(Pool(seed=seed, n=300, budget=40)).agrees for seed in range(3))
