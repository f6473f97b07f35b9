"""The selection report of runs on odd and hostile rows: the table, the Markdown, and the page in a real browser."""

import html
import json
import shutil
import subprocess

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import unavailable

from gip_exp import pipeline
from gip_exp.config import parse
from gip_exp.console import Console
from gip_exp.storage.files import read_jsonl

HOSTILE = [
    "</script><script>document.title='owned'</script>",
    "<img src=x onerror=\"document.title='owned'\">",
    "{{ 7 * 7 }} {% raw %} ${7*7} `x`",
    "line\u2028separator \u202eright to left\u202c",
    "| a | table | in | Markdown |\n# a heading",
]


def rows(n=90):
    subjects = ["otters", "lathes", "violins", "glaciers", "tariffs"]
    made = [
        {
            "instruction": f"Tell me fact {i} about {subjects[i % 5]}, please.",
            "output": f"The {subjects[i % 5]} are remarkable because of reason {i} and {i * i} others."
            * (1 + i % 3),
            "score": float(i % 7),
            "kind": "short" if i % 3 else "long",
        }
        for i in range(n)
    ]
    for at, text in enumerate(HOSTILE):
        made[at * 10]["instruction"] = f"{text} {at}"
        made[at * 10]["output"] = f"{text} reply {at}"
        made[at * 10]["kind"] = text
    return [*made, dict(made[1])]  # an equal row


@pytest.fixture(scope="module")
def run(compose, tmp_path_factory):
    """Run own_data on the rows: run("key=value", ...) -> outcome."""
    folder = tmp_path_factory.mktemp("report")
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows()), encoding="utf-8")

    def started(*overrides):
        given = [
            "+experiment=own_data",
            f"data.path={path}",
            f"paths.root={folder}/out",
            "embedder.min_count=1",
        ]
        return pipeline.run(parse(compose(*given, "data.metadata=[score,kind]", *overrides)), Console())

    return started


@pytest.fixture(scope="module")
def outcome(run):
    return run("budget=15")


def test_every_row_is_in_the_table_with_its_place(outcome):
    table = pq.read_table(outcome.folder / "scored.parquet").to_pylist()
    selected = read_jsonl(outcome.folder / "selected.jsonl")
    assert len(table) == 91
    ranked = sorted((row for row in table if row["selected"]), key=lambda row: row["rank"])
    assert [row["id"] for row in ranked] == [row["id"] for row in selected]
    assert [row["gain"] for row in ranked] == [row["gain"] for row in selected]
    assert {row["status"] for row in table} == {"selected", "ranked", "not selected", "left out: repeated"}
    (copy,) = [row for row in table if row["status"] == "left out: repeated"]
    assert (copy["row"], copy["near_copy_of"]) == (91, table[1]["id"])
    assert [row["score"] for row in table[:7]] == [0, 1, 2, 3, 4, 5, 6]
    assert table[2]["kind"] == "short"
    ids = {row["id"] for row in ranked}
    for row in table[:90]:
        assert row["nearest_pick"] in ids - {row["id"]}
        assert -1.0001 <= row["cosine"] <= 1.0001
        assert row["topic"]
    assert "tell me fact 1" in table[1]["text"].lower()


def test_the_numbers_of_the_subset_are_in_the_result(outcome):
    measures = outcome.result["measures"]
    picks = [row["row"] - 1 for row in read_jsonl(outcome.folder / "selected.jsonl")]
    scores = np.array([row["score"] for row in rows()])
    assert measures["mean score"]["subset"] == pytest.approx(scores[picks].mean())
    assert measures["mean score"]["pool"] == pytest.approx(scores[:90].mean())
    assert (
        measures["coverage"]["random_low"]
        <= measures["coverage"]["random"]
        <= measures["coverage"]["random_high"]
    )


def test_hostile_text_stays_text(outcome):
    page = (outcome.folder / "selection.html").read_text(encoding="utf-8")
    assert "<script>document" not in page
    assert "<img src=x" not in page
    text = (outcome.folder / "selection.md").read_text(encoding="utf-8")
    prose = [line for line in text.splitlines() if not line.startswith("    ")]
    assert not any("<img" in line.replace("\\<", "") for line in prose)
    assert not any(line.startswith("# a heading") for line in prose)


@pytest.mark.parametrize("selector", ["random", "full", "top_score", "mp_ma", "k_center", "dsir"])
def test_every_kind_of_selector_is_described(run, selector):
    budget = "budget=1.0" if selector == "full" else "budget=7"
    target = ["target.n=16"] if selector == "dsir" else []
    made = run(f"selector={selector}", budget, *target)
    table = pq.read_table(made.folder / "scored.parquet")
    assert sum(table["selected"].to_pylist()) == made.result["n_selected"]
    assert table["status"].to_pylist().count("held out as target") == (9 if target else 0)  # a tenth at most
    assert made.result["measures"]["coverage"]["subset"] > 0


def test_a_part_of_a_large_pool_is_described_and_that_is_said(run, monkeypatch):
    monkeypatch.setattr("gip_exp.selection_report.material.SAMPLED", 20)
    made = run("selector=random", "budget=11", "seed=5")
    table = pq.read_table(made.folder / "scored.parquet").to_pylist()
    described = [row for row in table if row["x"] is not None]
    assert 20 <= len(described) <= 20 + 20
    assert all(row["x"] is not None for row in table if row["selected"])
    assert "rows are described" in (made.folder / "selection.md").read_text(encoding="utf-8")


def test_rows_that_no_words_tell_apart_are_described(compose, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"prompt": "?", "completion": "!" * i}) + "\n" for i in range(1, 4)))
    given = [
        "+experiment=own_data",
        f"data.path={path}",
        f"paths.root={tmp_path}/out",
        "selector=random",
        "budget=1",
    ]
    made = pipeline.run(parse(compose(*given)), Console())
    assert (made.folder / "selection.html").is_file()


# What a reader does on the page; it ends as JSON in the document, which the browser prints.
VISIT = """
<script>
const errors = [];
window.addEventListener("error", (event) => errors.push(String(event.message)));
window.addEventListener("load", () => {
  const seen = { title: document.title, errors };
  const column = (at) => [...document.querySelectorAll("#picks tbody tr")].map((row) => row.cells[at].textContent);
  const button = (at) => document.querySelectorAll("#picks th button")[at];
  seen.ranks = column(0);
  button(0).click();
  seen.ranks_down = column(0);
  button(2).click();
  seen.scores_up = column(2);
  seen.sorted_by = document.querySelectorAll("#picks th")[2].getAttribute("aria-sort");
  const search = document.getElementById("search");
  search.value = "OTTERS";
  search.dispatchEvent(new Event("input"));
  seen.found = [...document.querySelectorAll("#picks tbody tr")].filter((row) => !row.hidden).map((row) => row.textContent);
  seen.count = document.getElementById("count").textContent;
  const canvas = document.querySelector("#map canvas");
  const ink = () => canvas.toDataURL();
  canvas.insertAdjacentHTML("afterend", `<canvas width=${canvas.width} height=${canvas.height}></canvas>`);
  const empty = canvas.nextElementSibling.toDataURL();
  canvas.nextElementSibling.remove();
  const before = ink();
  document.getElementById("in").click();
  const closer = ink();
  canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft" }));
  const moved = ink();
  document.getElementById("whole").click();
  seen.drawn = [before !== empty, closer !== before, moved !== closer, ink() === before];
  const box = canvas.getBoundingClientRect();
  const tip = document.getElementById("tip");
  for (let x = 5; x < box.width && tip.hidden; x += 8) {
    for (let y = 5; y < box.height && tip.hidden; y += 8) {
      canvas.dispatchEvent(new PointerEvent("pointermove", { clientX: box.left + x, clientY: box.top + y }));
    }
  }
  seen.tip = tip.hidden ? "" : tip.textContent;
  seen.scripts = document.scripts.length;
  seen.width = document.documentElement.scrollWidth - window.innerWidth;
  const out = document.createElement("pre");
  out.id = "seen";
  out.textContent = JSON.stringify(seen);
  document.body.append(out);
});
</script>
"""


@pytest.fixture(scope="module", params=["1280,900", "400,800"])
def visit(request, outcome, tmp_path_factory):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        unavailable("chromium", "no Chromium on this machine")
    page = (outcome.folder / "selection.html").read_text(encoding="utf-8")
    folder = tmp_path_factory.mktemp("browser")
    copy = folder / "visited.html"
    copy.write_text(page.replace("<main>", VISIT + "<main>", 1), encoding="utf-8")
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--enable-logging=stderr",
        f"--user-data-dir={folder}",
    ]
    done = subprocess.run(
        [
            browser,
            *options,
            f"--window-size={request.param}",
            "--virtual-time-budget=5000",
            "--dump-dom",
            copy.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    seen = json.loads(html.unescape(done.stdout.split('<pre id="seen">')[1].split("</pre>")[0]))
    return seen, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_the_page_sorts_searches_and_draws_without_errors(visit):
    seen, console = visit
    assert not seen["errors"]
    assert not console
    assert seen["title"].startswith("own_data: 15 of 90")  # no text of a row ran
    assert seen["ranks"] == [str(rank) for rank in range(1, 16)]
    assert seen["ranks_down"] == seen["ranks"][::-1]
    assert seen["scores_up"] == sorted(seen["scores_up"], key=float)
    assert seen["sorted_by"] == "ascending"
    assert seen["found"]
    assert all("otters" in text.lower() for text in seen["found"])
    assert seen["count"] == f"{len(seen['found'])} rows"
    assert seen["drawn"] == [True, True, True, True]
    assert " · " in seen["tip"]
    assert seen["width"] <= 0  # nothing is wider than the window
