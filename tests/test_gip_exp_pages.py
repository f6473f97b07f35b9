"""The HTML pages in a real browser: sorting by mouse and keyboard, links, dark mode, narrow windows, no network."""

import io
import random
import shutil
import statistics
from pathlib import Path
from urllib.parse import unquote

import pytest
from rich.console import Console as RichConsole

from gip_exp import pipeline
from gip_exp.config import parse
from gip_exp.console import Console
from gip_exp.judgements import page as judgements
from gip_exp.report.text import number_in
from gip_exp.report.write import write_report
from tests.browser import Page
from tests.provider_server import Provider, answer
from tests.report_runs import GSM8K, write_run

ODD = "javascript:alert(1) [x](y) <b> 100%"


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    """A report of runs by three selectors, one run in an oddly named folder with a selection page, one failed."""
    root, rng = tmp_path_factory.mktemp("reported"), random.Random(0)
    for selector, chance in (("mp_ma", 0.7), ("random", 0.3), ("top_score", 0.5), ("longest", 0.45)):
        for seed in (0, 1):
            values = {GSM8K: [float(rng.random() < chance) for _ in range(40)]}
            seconds = {"rank": rng.random() * 4000}
            write_run(root, selector, seed=seed, values=values, seconds=seconds, model="qwen3_8b")
    odd = write_run(root, "mp_sc", name=ODD, values={GSM8K: [1, 0] * 20}, model="qwen3_8b")
    (odd / "selection.html").write_text("<p>picks</p>")
    write_run(root, name="lost", status="failed", error="UserError: lost")
    return write_report(root, root / "report", RichConsole(file=io.StringIO())).folder / "report.html"


@pytest.fixture(scope="module")
def report(reported):
    page = Page(reported)
    yield page
    page.close()


def cells(page, table, column):
    script = f"""[...document.querySelector('{table}').tBodies[0].rows].map((row) => row.cells[{column}].textContent)"""
    return page.evaluate(script)


def headings(page, table):
    return page.evaluate(
        f"[...document.querySelectorAll('{table} thead tr:last-child th')].map((th) => th.textContent)"
    )


def click(page, table, column):
    """Click a heading; return the direction that it then tells assistive technology."""
    th = f"document.querySelectorAll('{table} thead tr:last-child th')[{column}]"
    return page.evaluate(f"({th}.querySelector('button').click(), {th}.getAttribute('aria-sort'))")


RESULTS = "#table-toy-qwen3-8b-gsm8k-exact-match table"


def test_a_click_sorts_up_then_down_then_as_it_was(report):
    column = headings(report, RESULTS).index("mean, %")
    methods, means = cells(report, RESULTS, 0), cells(report, RESULTS, column)
    assert len(set(means)) >= 4
    assert click(report, RESULTS, column) == "ascending"
    up = cells(report, RESULTS, column)
    assert [float(mean) for mean in up] == sorted(map(float, means))
    order = dict(zip(methods, means, strict=True))
    assert [order[method] for method in cells(report, RESULTS, 0)] == up  # whole rows move
    assert click(report, RESULTS, column) == "descending"
    assert cells(report, RESULTS, column) == up[::-1]
    assert click(report, RESULTS, column) is None
    assert cells(report, RESULTS, 0) == methods


def test_missing_values_stay_last_and_text_is_sorted_as_text(report):
    column = headings(report, RESULTS).index("difference")
    for _ in range(2):
        click(report, RESULTS, column)
        shown = cells(report, RESULTS, column)
        assert shown[-1] == "–"
        known = [number_in(text) for text in shown if text != "–"]
        assert len(known) >= 3
        assert known in (sorted(known), sorted(known)[::-1])
        assert min(known) < 0 or max(known) > 0
    click(report, RESULTS, column)
    click(report, RESULTS, 0)
    assert cells(report, RESULTS, 0) == sorted(cells(report, RESULTS, 0), key=str.lower)
    sorted_columns = f"document.querySelectorAll('{RESULTS} th[aria-sort]').length"
    assert report.evaluate(sorted_columns) == 1


def test_durations_are_sorted_as_durations_and_a_total_stays_last(report):
    table = "#table-toy-qwen3-8b-stages table"
    column = headings(report, table).index("total")
    click(report, table, column)
    shown = [number_in(text) for text in cells(report, table, column)]
    assert shown == sorted(shown)
    assert shown[-1] > 600  # seconds; written as minutes or hours
    assert report.evaluate(f"document.querySelector('{table}').tFoot.rows[0].cells[0].textContent") == "total"
    assert "total" not in cells(report, table, 0)


def test_the_keyboard_reaches_a_heading_and_sorts(report):
    report.evaluate("document.activeElement.blur()")
    table = "#table-toy-qwen3-8b-gsm8k-exact-match"
    focused = f"document.activeElement.closest('{table} th')?.textContent ?? ''"
    for _ in range(200):
        report.press("Tab")
        if report.evaluate(focused) == "seeds":
            break
    else:
        pytest.fail("Tab never reaches the heading")
    assert report.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    state = "document.activeElement.parentElement.getAttribute('aria-sort')"
    for key, direction in (("Enter", "ascending"), (" ", "descending"), ("Enter", None)):
        report.press(key)
        assert report.evaluate(state) == direction
    assert report.evaluate(focused) == "seeds"  # sorting keeps the focus


def test_every_run_is_linked_to_its_files(report, reported):
    links = report.evaluate(
        "[...document.querySelectorAll('#table-runs a')].map((a) => [a.getAttribute('href'), a.href])"
    )
    files = [(reported.parent / unquote(link)).resolve() for link, _ in links]
    assert all(link.startswith("../toy/") for link, _ in links)
    assert all(address.startswith("file:///") for _, address in links)
    root = reported.parents[1]
    expected = {*root.glob("toy/*/result.json"), *root.glob("toy/*/selection.html")}
    assert len(expected) == 11
    assert set(files) == {file.resolve() for file in expected}
    assert [row for row in cells(report, "#table-runs table", 0) if "lost" in row] == ["toy/lost"]


@pytest.fixture(scope="module")
def selected(compose, tmp_path_factory):
    folder = tmp_path_factory.mktemp("selected")
    path = folder / "rows.csv"
    words = ["otters", "lathes", "violins", "an_unbroken_name_" * 8]
    lines = [
        f"Tell me fact {i} about {words[i % 4]}.,The {words[i % 4]} have {i * i} reasons.,{i % 7}"
        for i in range(80)
    ]
    path.write_text("\n".join(["instruction,output,score", *lines]))
    given = ["+experiment=own_data", f"data.path={path}", f"paths.root={folder}/out", "embedder.min_count=1"]
    metadata = ["data.metadata=[score]", "selector=mp_metadata", "budget=12"]
    return pipeline.run(parse(compose(*given, *metadata)), Console(io.StringIO())).folder / "selection.html"


@pytest.fixture(scope="module")
def judged(micro, tmp_path_factory):
    root = tmp_path_factory.mktemp("judged")
    names = ("accuracy", "reasoning", "clarity", "helpfulness", "difficulty")
    grades = "{" + ", ".join(f'"{name}": 3' for name in names) + "}"
    with Provider(lambda _: answer(f"<think>{'long' * 200}</think>{grades}")) as server:
        judge = ["judge=openai", "judge.model=j", f"judge.base_url={server.url}"]
        config = micro(root, *judge, "until=score", "data.n=30")
        return pipeline.run(config, Console(io.StringIO())).folder / judgements.PAGE


@pytest.mark.parametrize("name", ["reported", "selected", "judged"])
def test_a_page_fits_its_window_and_can_be_read_in_light_and_dark(name, request):
    page = Page(request.getfixturevalue(name))
    try:
        papers = []
        for dark in (False, True):
            page.dark(dark)
            papers.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
            contrast, text = page.least_contrast()
            assert contrast >= 4.5, text  # AA of the Web Content Accessibility Guidelines
        assert papers == ["rgb(255, 255, 255)", "rgb(24, 24, 23)"]
        for width in (1280, 400):
            page.resize(width)
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.console == []
        assert [url for url in page.requests if not url.startswith("data:")] == [page.requests[0]]
    finally:
        page.close()


def test_the_picks_are_sorted_by_keyboard(selected):
    page = Page(selected)
    try:
        column = headings(page, "#picks").index("score")
        page.evaluate(f"document.querySelectorAll('#picks th button')[{column}].focus()")
        page.press("Enter")
        scores = [float(text) for text in cells(page, "#picks", column)]
        assert scores == sorted(scores)
        assert statistics.pvariance(scores) > 0
    finally:
        page.close()


def test_without_scripts_the_report_is_the_same_page(reported, tmp_path):
    copy = Path(shutil.copy(reported, tmp_path / "plain.html"))
    text = copy.read_text(encoding="utf-8")
    start, end = text.index("<script>"), text.index("</script>")
    copy.write_text(text[:start] + text[end + len("</script>") :], encoding="utf-8")
    page = Page(copy)
    try:
        assert headings(page, RESULTS)[0] == "method"
        assert page.evaluate("document.querySelectorAll('button').length") == 0
    finally:
        page.close()
