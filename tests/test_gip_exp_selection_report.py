"""The selection report of runs on odd and hostile rows: the table, the Markdown, and the page in a real browser."""

import html
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pyarrow.parquet as pq
import pytest
from conftest import unavailable

from gip_exp import pipeline
from gip_exp.config import parse
from gip_exp.console import Console
from gip_exp.errors import UserError
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


def test_the_reason_of_a_row_names_its_gain_its_neighbour_and_a_score_that_stands_out(run):
    made = run("budget=15", "selector=mp_metadata", "data.metadata=[score]")
    text = (made.folder / "selection.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^### rank (\d+), .*\n\n(.*)$", text, re.MULTILINE))
    table = pq.read_table(made.folder / "scored.parquet").to_pylist()[:90]
    ranked = {str(row["rank"]): row for row in table if row["rank"]}
    assert told.keys() >= {str(rank) for rank in (*range(1, 6), *range(11, 16))}
    for rank, sentence in told.items():
        row = ranked[rank]
        assert sentence.startswith(f"Gain {row['gain']:.4g}")
        assert ("the most similar row before it is rank" in sentence) == (rank != "1")
        below = np.mean([other["score"] < row["score"] for other in table])
        above = np.mean([other["score"] > row["score"] for other in table])
        if max(below, above) >= 0.75:
            word = "higher" if below > above else "lower"
            share = f"({word} than {100 * max(below, above):.0f} % of the pool)"
            assert f"it stands out by score {row['score']:.3g} {share}" in sentence
        else:
            assert "its scores are like those of most rows" in sentence
    assert any("stands out" in sentence for sentence in told.values())


def test_of_many_scores_the_two_that_stand_out_most_are_named(compose, tmp_path):
    """One row is best by all of four columns, in which 0, 4, 8 and 12 of 40 rows have its value."""
    path = tmp_path / "rows.jsonl"
    made = [
        {"prompt": f"Fact {i}?", "completion": f"Water is {i}."}
        | {f"c{k}": int(i < 1 + 4 * k) for k in range(4)}
        for i in range(40)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in made))
    given = [
        "+experiment=own_data",
        f"data.path={path}",
        f"paths.root={tmp_path}/out",
        "selector=mp_metadata",
        "budget=3",
    ]
    outcome = pipeline.run(parse(compose(*given, "data.metadata=[c0,c1,c2,c3]")), Console(io.StringIO()))
    text = (outcome.folder / "selection.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^### rank \d+, line (\d+)\n\n(.*)$", text, re.MULTILINE))
    assert told["1"].endswith(
        "it stands out by c0 1 (higher than 98 % of the pool) and c1 1 (higher than 88 % of the pool)."
    )


def test_only_scores_that_the_selector_read_explain_a_row(run):
    made = run("selector=k_center", "budget=9")  # score is a column of the rows, but k_center reads no scores
    text = (made.folder / "selection.md").read_text(encoding="utf-8")
    assert "stands out" not in text
    assert "with a cosine of" in text
    made = run("selector=random", "budget=9")
    assert "The selector gives no reason for a single row." in (made.folder / "selection.md").read_text(
        "utf-8"
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


# With two or three rows at equal angles, self-compression is the same for all, and the rules find no flaw in any.
ALIKE = (
    "choices_column.jsonl",
    "columns_as_lists.json",
    "context_column.jsonl",
    "conversation_under_another_name.jsonl",
    "hub_layout",
    "null_and_nan_inputs.jsonl",
    "preference_texts.jsonl",
    "preference_turns.jsonl",
    "system_beside_conversations.json",
    "system_in_the_middle.jsonl",
    "tools_last_turn_is_a_call.json",
    "tools_openai.jsonl",
)
REFUSED = {
    **dict.fromkeys(ALIKE, "every attribute of the judge is the same for every row.*selector=mp_sc"),
    "chinese.jsonl": "judge=rules reads only Latin letters.*selector=mp_sc",
    "one_row_with_a_list_called_samples.jsonl": "the pool is a single row",
    "shards_with_one_missing": "train-00001-of-00003.*data.allow_missing_shards=true",
}


def test_every_odd_file_ends_with_a_page_or_with_one_message(compose, data_dir, tmp_path):
    """Half of each file under `cases` of the data, by the defaults of own_data; where they refuse, by mp_sc, if they name it."""
    files = [path for path in sorted((data_dir / "cases").iterdir()) if path.name != "README.md"]
    assert {path.name for path in files} >= REFUSED.keys()

    def described(path, *more):
        given = ["+experiment=own_data", f"data.path={path}", "budget=0.5", f"paths.root={tmp_path}", *more]
        outcome = pipeline.run(parse(compose(*given)), Console(io.StringIO()))
        assert (outcome.folder / "selection.html").is_file()
        assert 1 <= outcome.result["n_selected"] <= outcome.result["n_pool"] / 2 + 0.5

    for path in files:
        if path.name not in REFUSED:
            described(path)
            continue
        with pytest.raises(UserError, match=REFUSED[path.name]):
            described(path)
        if "mp_sc" in REFUSED[path.name]:
            described(path, "selector=mp_sc")


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


def test_columns_of_the_data_with_names_of_the_table_keep_their_values(compose, tmp_path):
    path = tmp_path / "rows.jsonl"
    made = [{**row, "topic": f"own {n % 3}", "gain": n} for n, row in enumerate(rows())]
    path.write_text("".join(json.dumps(row) + "\n" for row in made))
    given = [
        "+experiment=own_data",
        f"data.path={path}",
        f"paths.root={tmp_path}/out",
        "selector=mp_metadata",
    ]
    config = parse(compose(*given, "budget=7", "until=select", "data.metadata=[topic,gain]"))
    folder = pipeline.run(config, Console(io.StringIO())).folder
    table = [
        row for row in pq.read_table(folder / "scored.parquet").to_pylist() if row["status"][:4] != "left"
    ]
    assert len(table) == 90
    assert [row["topic (data)"] for row in table] == [f"own {(row['row'] - 1) % 3}" for row in table]
    assert [row["gain (data)"] for row in table] == [row["row"] - 1 for row in table]
    assert not any(str(row["topic"]).startswith("own") for row in table)
    assert {row["own_id"] for row in table} == {None}
