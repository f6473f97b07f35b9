"""The report's files: the same numbers in all of them, a page that needs nothing else, figures for every case."""

import csv
import io
import itertools
import json
import random
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from statistics import fmean

import pytest
from rich.console import Console

from gip_exp.pages import SORTING
from gip_exp.report import html, latex, markdown, names
from gip_exp.report.__main__ import main
from gip_exp.report.document import Column, Document, Section, Table
from gip_exp.report.write import write_report
from tests.report_runs import GSM8K, write_run

SKILLS = {"clean_share": 0.9, "skills_covered": 7, "n_skills": 9, "skill_entropy": 1.75}
REPOSITORY = Path(__file__).parents[1]


def draw_values(rng, chance, n=30):
    return [float(rng.random() < chance) for _ in range(n)]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    """3 selectors x 2 budgets x 2 seeds, full, the base, one failed run; and a group with MT-Bench."""
    root, rng = tmp_path_factory.mktemp("sweep"), random.Random(0)
    for seed in (0, 1):
        for i, selector in enumerate(("mp_ma", "mp_sc", "random")):
            for budget in (0.1, 0.2):
                values = {
                    GSM8K: draw_values(rng, 0.7 - 0.1 * i),
                    "answer_nll/numbers": [rng.random() for _ in range(30)],
                }
                chosen = rng.sample(range(100), round(100 * budget))
                write_run(
                    root,
                    selector,
                    seed=seed,
                    budget=budget,
                    values=values,
                    selected=chosen,
                    subset=SKILLS,
                    n_unscored=i,
                )
        write_run(root, "full", seed=seed, values={GSM8K: draw_values(rng, 0.9)})
    write_run(root, "random", tuned=False, values={GSM8K: draw_values(rng, 0.1)})
    write_run(root, "mp_ma", seed=2, status="failed", error="OutOfMemoryError: <the card> & more")
    for experiment in ("alpaca_mistral", "alpaca_cleaned_mistral"):
        for selector, budget in (("mp_sc", 0.01), ("full", 1.0)):
            values = {
                f"mt_bench/{category}": [rng.randint(1, 10) for _ in range(4)]
                for category in names.CATEGORIES
            }
            values["mt_bench/all"] = [value for of_one in values.values() for value in of_one]
            write_run(
                root,
                selector,
                budget=budget,
                experiment=experiment,
                model="mistral_7b",
                values=values,
                n_pool=1000,
            )
    return root


@pytest.fixture(scope="module")
def report(sweep):
    screen = io.StringIO()
    made = write_report(sweep, sweep / "report", Console(file=screen, width=100))
    return made, screen.getvalue()


def lines_of(report):
    return list(csv.DictReader((report.folder / "report.csv").read_text().splitlines()))


def outcomes(root, selector, budget, seed, metric=GSM8K):
    path = root / "toy" / f"{selector}_b{budget}_s{seed}" / "predictions" / f"{metric}.jsonl"
    return {row["id"]: row["value"] for row in map(json.loads, path.read_text().splitlines())}


def test_the_csv_is_what_the_per_question_files_say(sweep, report):
    lines = [line for line in lines_of(report[0]) if line["experiment"] == "toy" and line["budget"]]
    assert len(lines) == 13  # 6 cells with two metrics, full with one
    for line in lines:
        cell = (line["selector"], float(line["budget"]))
        ours = {seed: outcomes(sweep, *cell, seed, line["metric"]) for seed in (0, 1)}
        assert float(line["mean"]) == pytest.approx(fmean(v for one in ours.values() for v in one.values()))
        assert (line["seeds"], line["seed_list"], line["questions"]) == ("2", "0 1", "30")
        if line["selector"] in ("mp_ma", "mp_sc"):
            theirs = {seed: outcomes(sweep, "random", cell[1], seed, line["metric"]) for seed in (0, 1)}
            gaps = [ours[seed][id] - theirs[seed][id] for seed in (0, 1) for id in ours[seed]]
            assert float(line["difference_random"]) == pytest.approx(fmean(gaps))
            assert float(line["low_random"]) <= fmean(gaps) <= float(line["high_random"])
        else:
            assert line["difference_random"] == ""


def test_all_formats_give_the_same_means(report):
    folder = report[0].folder
    texts = [(folder / f"report.{kind}").read_text() for kind in ("md", "tex", "html")]
    for line in lines_of(report[0]):
        if line["metric"] == GSM8K:
            assert all(f"{100 * float(line['mean']):.1f}" in text for text in texts)
        if line["metric"] == "mt_bench/writing":
            assert all(f"{float(line['mean']):.3f}" in text for text in texts)


def test_the_figures_are_there_as_svg_and_pdf(report):
    made = {path.name for path in (report[0].folder / "figures").iterdir()}
    expected = (
        "budget-gsm8k-exact-match",
        "mt-bench-categories",
        "methods-alpaca-mistral-mistral-7b",
        "overlap-toy-tiny-arithmetic-model",
        "quality-toy-tiny-arithmetic-model",
        "cost-toy-tiny-arithmetic-model",
    )
    assert {f"{slug}.{kind}" for slug in expected for kind in ("svg", "pdf")} <= made


def test_a_single_budget_gets_methods_side_by_side_and_several_get_lines(report):
    slugs = {part.slug for section in report[0].document.sections for part in section.parts}
    assert "methods-toy-tiny-arithmetic-model" not in slugs
    assert "budget-mt-bench-all" not in slugs


class Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.ids, self.links, self.open = [], [], []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.ids += [attributes["id"]] if "id" in attributes else []
        self.links += [v for k, v in attrs if k in ("href", "src", "xlink:href")]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("meta", "img"):
            assert self.open.pop() == tag


def test_the_page_is_self_contained_with_unique_ids_and_balanced_tags(report):
    text = (report[0].folder / "report.html").read_text()
    page = Page()
    page.feed(text)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    inner = {link.removeprefix("#") for link in page.links if link.startswith("#")}
    assert inner <= set(page.ids)
    files = [link for link in page.links if not link.startswith(("#", "data:"))]
    assert files
    assert all((report[0].folder / link).is_file() for link in files)  # those of the runs
    assert text.count("<script") == 1
    assert f"<script>\n{SORTING.read_text()}</script>" in text
    assert text.count("data:image/svg+xml") == len(list((report[0].folder / "figures").glob("*.svg")))


def test_failed_runs_stand_in_every_text_and_are_escaped(report):
    folder = report[0].folder
    assert "OutOfMemoryError: &lt;the card&gt; &amp; more" in (folder / "report.html").read_text()
    assert r"OutOfMemoryError: $<$the card$>$ \& more" in (folder / "report.tex").read_text()
    assert "OutOfMemoryError" in (folder / "report.md").read_text()
    assert "failed" in report[1]


def test_rows_without_a_score_are_counted(report):
    assert "could not be selected: MP+SC 1, Random 2." in (report[0].folder / "report.md").read_text()


def test_the_console_shows_the_headline_table_and_where_things_lie(report):
    made, screen = report
    assert "GSM8K exact match (%)" in screen
    assert "Base, not tuned" in screen
    assert str(made.folder) in screen.replace("\n", "")
    assert "the paper's claims:" in screen


def test_settings_that_tell_arms_apart_are_shown_in_every_output(tmp_path, capsys):
    for ridge in (0.1, 1.0):
        write_run(tmp_path, name=f"r{ridge}", settings={"selector": {"ridge": ridge}})
    assert main([str(tmp_path)]) == 0
    assert "MP+MA [ridge=0.1]" in capsys.readouterr().out
    for kind in ("md", "tex", "html", "csv"):
        assert "MP+MA [ridge=0.1]" in (tmp_path / "report" / f"report.{kind}").read_text()


def test_a_second_report_leaves_no_figure_of_the_first_and_no_other_file_out(tmp_path):
    for experiment in ("first", "second"):
        write_run(tmp_path, experiment=experiment)
    figures = tmp_path / "report" / "figures"
    assert main([str(tmp_path)]) == 0
    before = {path.name for path in figures.iterdir()}
    (figures / "mine.pdf").write_text("")
    shutil.rmtree(tmp_path / "second")
    assert main([str(tmp_path)]) == 0
    after = {path.name for path in figures.iterdir()}
    assert after == {"mine.pdf", *(name for name in before if "second" not in name)} != {"mine.pdf", *before}


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_a_figure_of_unequal_seeds_says_so(tmp_path, seeds):
    for selector, budget in itertools.product(("mp_ma", "random"), (0.1, 0.2)):
        for seed in seeds if selector == "mp_ma" else (0,):
            write_run(tmp_path, selector, seed=seed, budget=budget)
    assert main([str(tmp_path)]) == 0
    page = (tmp_path / "report" / "report.md").read_text()
    assert ("means over different seeds" in page) == (len(seeds) > 1)


def test_one_seed_says_so_everywhere(tmp_path, capsys):
    write_run(tmp_path, values={GSM8K: [1, 0, 1]})
    write_run(tmp_path, "random", values={GSM8K: [0, 0, 1]})
    assert main([str(tmp_path)]) == 0
    text = (tmp_path / "report" / "report.md").read_text()
    assert "One seed only: the intervals cover the questions, there is no interval over seeds." in text
    assert "one seed: intervals cover questions only" in text
    assert "p (seeds)" not in text.split("## How to read")[0]
    assert "one seed: intervals over questions only" in capsys.readouterr().out


def test_the_same_runs_give_the_same_bytes(tmp_path):
    write_run(tmp_path / "runs")
    write_run(tmp_path / "runs", "random")
    quiet = Console(file=io.StringIO())
    for name in ("a", "b"):
        write_report(tmp_path / "runs", tmp_path / name, quiet)
    for path in sorted((tmp_path / "a").rglob("*.*")):
        twin = tmp_path / "b" / path.relative_to(tmp_path / "a")
        assert path.read_bytes() == twin.read_bytes(), path.name


def test_categories_of_the_rows_are_compared_with_the_pool(tmp_path):
    for selector, codes in (("mp_ma", 6), ("random", 2)):
        topics = {"code": {"pool": 25, "selected": codes}, "<prose>": {"pool": 75, "selected": 10 - codes}}
        common = {"budget": 10, "values": {}, "status": "stopped:select"}
        write_run(tmp_path, selector, selected=range(10), categories={"topic": topics}, **common)
    made = write_report(tmp_path, tmp_path / "report", Console(file=io.StringIO()))
    page = (made.folder / "report.md").read_text()
    assert "topic of the selected rows" in page
    (line,) = (line for line in page.splitlines() if line.startswith("| code"))
    assert [cell.strip() for cell in line.strip("|").split("|")] == ["code", "25.0", "60.0", "20.0"]
    assert "<prose>" not in (made.folder / "report.html").read_text()


def test_runs_that_only_selected_are_reported_without_metrics(tmp_path):
    for selector, chosen in (("mp_ma", [0, 1, 2]), ("random", [2, 3, 4])):
        write_run(tmp_path, selector, budget=3, selected=chosen, values={}, status="stopped:select")
    made = write_report(tmp_path, tmp_path / "report", Console(file=io.StringIO()))
    assert made.results == ()
    assert (made.folder / "figures" / "overlap-toy-tiny-arithmetic-model.svg").is_file()


def test_selections_of_three_pool_sizes_are_judged_by_their_time_alone(tmp_path):
    for size in (1000, 4000, 16000):
        stages = {
            stage: {"key": f"{stage}{size}", "seconds": 0.001 * size, "cached": False}
            for stage in ("data", "rank")
        }
        settings = {"data": {"limit": size}}
        write_run(
            tmp_path, budget=20, n_pool=size, values={}, name=f"n{size}", stages=stages, settings=settings
        )
    made = write_report(tmp_path, tmp_path / "report", Console(file=io.StringIO()))
    written = (made.folder / "report.md").read_text("utf-8")
    assert "MP+MA, 20 picks" in written
    assert "1,000, 4,000, 16,000 rows" in written


def test_special_characters_survive_every_notation():
    table = Table("t", "50 % & a_b", (Column("x|y", "left"),), (("*<b>* 5 % −1 · #",),))
    assert r"\*\<b>\* 5 % −1 · #" in "\n".join(markdown.table(table))
    assert r"x\|y" in "\n".join(markdown.table(table))
    assert r"50~\% \& a\_b" in "\n".join(latex.table(table))
    assert r"$*$$<$b$>$$*$ 5~\% $-$1 \textperiodcentered{} \#" in "\n".join(latex.table(table))
    assert "*&lt;b&gt;* 5\u00a0% −1 · #" in html.render(Document("t", (), (Section("s", (), (table,)),)))


def test_methods_differ_in_colour_and_marker_and_the_papers_six_also_for_the_colour_blind():
    looks = list(names.METHODS.values())
    assert len({look.colour for look in looks}) == len(looks)
    drawn = [names.look(name) for name in ("mp_ma", "mp_sc", "dsir", "disf", "less", "random")]
    assert len({(look.marker, look.line) for look in drawn}) == len(drawn)
    for kind in DEFICIENCIES.values():
        seen = [_seen(look.colour, kind) for look in drawn]
        gaps = [_gap(a, b) for i, a in enumerate(seen) for b in seen[:i]]
        assert min(gaps) > 10  # a difference in CIELAB of 2 is just noticeable


# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
DEFICIENCIES = {
    "protan": (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    ),
    "deutan": (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    ),
    "tritan": (
        (1.255528, -0.076749, -0.178779),
        (-0.078411, 0.930809, 0.147602),
        (0.004733, 0.691367, 0.303900),
    ),
}


def _seen(colour, kind):
    """CIELAB of a hex colour as somebody with the deficiency sees it."""
    srgb = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in srgb]
    red, green, blue = (
        min(1.0, max(0.0, sum(k * c for k, c in zip(row, linear, strict=True)))) for row in kind
    )
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.089
    fx, fy, fz = (t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116 for t in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def _gap(a, b):
    return sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) ** 0.5


def test_help_imports_nothing_heavy_and_a_report_neither_hydra_nor_torch():
    code = (
        "import sys; from gip_exp.report.__main__ import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'matplotlib', 'scipy', 'torch'} & set(sys.modules)\n"
        "import gip_exp.report.write\n"
        "print('heavy', heavy | ({'hydra', 'omegaconf', 'torch', 'transformers', 'wandb'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert re.search(r"^heavy set\(\)$", done.stdout, re.MULTILINE), done.stdout
