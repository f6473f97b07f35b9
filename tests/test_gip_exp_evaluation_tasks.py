"""BBH and MT-Bench as stages: real question files, the shrunken model as player, a judge behind a real endpoint."""

import io
import json
import socket
import threading
import weakref
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import MICRO

from gip_exp import device, pipeline
from gip_exp.config import parse
from gip_exp.console import Console
from gip_exp.errors import UserError
from gip_exp.llm.server import VLLMServer
from gip_exp.models import kept_model, loading
from gip_exp.signals import llm_judge
from gip_exp.storage.files import read_jsonl
from tests.batch_server import BatchServer
from tests.tiny_families import make_family
from tests.tiny_qwen3 import make_adapter, make_model

SHORT = [setting for setting in MICRO if not setting.startswith("evaluation.")]
PLAYED = [
    "evaluation=[mt_bench]",
    "evaluation.mt_bench.limit_per_category=1",
    "evaluation.mt_bench.max_new_tokens=8",
]


class Judge(BaseHTTPRequestHandler):
    """Answers every chat with a rating that depends on the length of what it was asked."""

    asked: list[dict] = []  # noqa: RUF012 - one list for the server's life

    @classmethod
    def rating(cls, messages):
        return 1 + len(json.dumps(messages)) % 10

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).asked.append(body)
        rating = self.rating(body["messages"])
        text = json.dumps(
            {
                "id": "x",
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
                "choices": [
                    {
                        "index": 0,
                        "finish_reason": "stop",
                        "message": {
                            "role": "assistant",
                            "content": f"Rating: [[{rating}]]" if rating else "Hm.",
                        },
                    }
                ],
                "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


@pytest.fixture
def judge_url():
    Judge.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Judge)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()


@pytest.fixture(scope="module")
def mistral(tmp_path_factory):
    return make_family(tmp_path_factory.mktemp("family") / "mistral", "mistral", positions=4096)


def run(compose, root, *overrides):
    return pipeline.run(parse(compose(*SHORT, f"paths.root={root}", *overrides)), Console(io.StringIO()))


def test_mt_bench_plays_both_turns_and_every_judgement_counts(compose, data_dir, shared_root, judge_url):
    judge = f"evaluation.mt_bench.judge.base_url={judge_url}"
    outcome = run(compose, shared_root, *PLAYED, f"evaluation.mt_bench.data_dir={data_dir}/mt_bench", judge)
    metrics = outcome.result["metrics"]
    categories = {name for name in metrics if not name.endswith(("/all", "/turn_1", "/turn_2"))}
    assert len(categories) == 8
    assert len(Judge.asked) == 16
    assert all(body["model"] == "gpt-5-2025-08-07" and "temperature" not in body for body in Judge.asked)
    rows = read_jsonl(outcome.folder / "predictions" / "mt_bench" / "all.jsonl")
    assert metrics["mt_bench/all"]["value"] == pytest.approx(sum(row["value"] for row in rows) / 8)


def test_mt_bench_graded_in_a_batch_grades_the_answers_that_the_first_start_gave(
    compose, data_dir, shared_root, monkeypatch
):
    """Two repeats go into one batch; while it is awaited no process runs, and the model is not asked again."""
    with BatchServer(polls=1, text="Rating: [[7]]") as server:
        judge = {
            "base_url": server.url,
            "model": "judge",
            "batch": "true",
            "batch_wait_min": 0,
        }
        asked = [
            *PLAYED,
            f"evaluation.mt_bench.data_dir={data_dir}/mt_bench",
            "evaluation.mt_bench.repeats=2",
            *(f"evaluation.mt_bench.judge.{key}={value}" for key, value in judge.items()),
        ]
        with pytest.raises(UserError, match="waiting for batch, 0 of 1 done"):
            run(compose, shared_root, *asked)
        monkeypatch.setattr("eval.mt_bench.play", None)
        outcome = run(compose, shared_root, *asked)
    assert outcome.result["metrics"]["mt_bench/all"]["value"] == 7
    assert set(server.bought.values()) == {1}
    assert (len(server.bought), len(server.batches), server.live) == (32, 1, [])
    entry = outcome.entries["evaluate/mt_bench"]
    assert entry.facts["llm"]["cached"] == 32
    assert sorted(path.name for path in entry.folder.iterdir()) == [
        "answers.jsonl", "judgements.jsonl", "manifest.json", "predictions",
    ]  # fmt: skip


def test_mt_bench_without_a_key_or_an_address_stops_beforehand(compose, data_dir, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UserError, match=r"evaluation.mt_bench.judge: gpt-5-2025-08-07 needs OPENAI_API_KEY"):
        run(compose, tmp_path, *PLAYED)
    assert not list(tmp_path.iterdir())


def test_bbh_runs_on_local_files_and_keeps_every_question(compose, data_dir, shared_root):
    outcome = run(
        compose,
        shared_root,
        "evaluation=[bbh]",
        f"evaluation.bbh.data_dir={data_dir}/bbh",
        "evaluation.bbh.variant=zeroshot",
        "evaluation.bbh.tasks=[navigate,boolean_expressions]",
        "evaluation.bbh.limit=3",
        "evaluation.bbh.max_new_tokens=4",
    )
    metrics = outcome.result["metrics"]
    assert {name: metric["n"] for name, metric in metrics.items()} == {
        "bbh/navigate": 3,
        "bbh/boolean_expressions": 3,
        "bbh/all": 6,
    }
    assert len(read_jsonl(outcome.folder / "predictions" / "bbh" / "navigate.jsonl")) == 3


@pytest.mark.parametrize("experiment", ["alpaca_mistral", "alpaca_cleaned_mistral"])
def test_alpaca_goes_from_real_rows_to_an_evaluated_mistral(compose, data_dir, tmp_path, mistral, experiment):
    """The experiments as they are; only the model's and the data's folders change, and what is evaluated is small."""
    overrides = [
        f"+experiment={experiment}",
        "selector=mp_sc",
        "budget=0.01",
        f"data.path={data_dir}/alpaca/alpaca_9k.json",
        "data.limit=1200",
        f"model.path={mistral}",
        "model.dtype=float32",
        "train.max_length=512",
        "tracking=none",
        "evaluation=[bbh]",
        f"evaluation.bbh.data_dir={data_dir}/bbh",
        "evaluation.bbh.variant=zeroshot",
        "evaluation.bbh.tasks=[navigate]",
        "evaluation.bbh.limit=2",
        "evaluation.bbh.max_new_tokens=2",
    ]
    config = parse(compose(*overrides, f"paths.root={tmp_path}"))
    assert (config.selector.name, config.model.name, config.train.epochs) == ("mp_sc", "mistral_7b", 3)
    outcome = pipeline.run(config, Console(io.StringIO()))
    assert outcome.result["n_selected"] == 11
    assert outcome.result["metrics"]["bbh/navigate"]["n"] == 2


# Ratings by the number of times a conversation was asked; None gives none.
@pytest.fixture
def stubborn(judge_url, monkeypatch):
    """A judge that rates from the `patience`-th asking on; questions of `never` it never rates."""
    settings = {"patience": 1, "never": "\0"}
    seen = Counter()

    def rating(cls, messages):
        text = json.dumps(messages)
        seen[text] += 1
        return None if seen[text] < settings["patience"] or settings["never"] in text else 7

    monkeypatch.setattr(Judge, "rating", classmethod(rating))
    return settings, f"evaluation.mt_bench.judge.base_url={judge_url}"


def test_what_has_no_rating_is_asked_again_as_often_as_round_says(compose, data_dir, shared_root, stubborn):
    settings, judge = stubborn
    files = f"evaluation.mt_bench.data_dir={data_dir}/mt_bench"
    settings["patience"] = 2
    with pytest.raises(
        UserError, match=r"the judge gave no usable rating in 16 judgements.*no \[\[rating\]\]"
    ):
        run(compose, shared_root, *PLAYED, files, judge, "evaluation.mt_bench.judge.max_tokens=99")
    again = ["evaluation.mt_bench.judge.max_tokens=99", "evaluation.mt_bench.judge.round=1"]
    outcome = run(compose, shared_root, *PLAYED, files, judge, *again)
    assert outcome.result["metrics"]["mt_bench/all"]["value"] == 7
    assert len(Judge.asked) == 32  # the kept replies of the first round were not asked for again


def test_more_unscored_questions_than_allowed_are_an_error(compose, data_dir, shared_root, stubborn):
    settings, judge = stubborn
    files = f"evaluation.mt_bench.data_dir={data_dir}/mt_bench"
    settings["never"] = "Hawaii"  # the first question of writing
    limits = ["evaluation.mt_bench.judge.max_tokens=98"]
    with pytest.raises(UserError, match=r"1 of 8 questions have no score, more than .*max_unscored=0\.05"):
        run(compose, shared_root, *PLAYED, files, judge, *limits)
    outcome = run(
        compose, shared_root, *PLAYED, files, judge, *limits, "evaluation.mt_bench.judge.max_unscored=0.2"
    )
    facts = outcome.entries["evaluate/mt_bench"].facts
    assert (facts["judgements"], facts["failed_judgements"], facts["unscored_questions"]) == (16, 2, [81])
    assert "mt_bench/writing" not in outcome.result["metrics"]
    assert outcome.result["metrics"]["mt_bench/all"]["n"] == 7


def test_a_judge_that_takes_questions_and_never_answers_is_an_error(
    compose, data_dir, shared_root, judge_url, monkeypatch
):
    answered = threading.Event()
    monkeypatch.setattr(Judge, "rating", classmethod(lambda *_: answered.wait(60)))
    judge = [
        f"evaluation.mt_bench.judge.{key}"
        for key in (f"base_url={judge_url}", "timeout_s=0.2", "max_tokens=97")
    ]
    files = f"evaluation.mt_bench.data_dir={data_dir}/mt_bench"
    try:
        with pytest.raises(UserError, match=r"no reply to the last \d+ requests \(the last: timeout"):
            run(compose, shared_root, *PLAYED, files, *judge)
    finally:
        answered.set()


def test_a_judge_that_is_not_there_is_said_before_anything_is_played(compose, data_dir, shared_root):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
    files = [f"evaluation.mt_bench.data_dir={data_dir}/mt_bench", "evaluation.mt_bench.judge.max_tokens=96"]
    with pytest.raises(
        UserError, match=r"judge\.base_url=.*: no server answers there .*start the server first"
    ):
        run(compose, shared_root, *PLAYED, *files, f"evaluation.mt_bench.judge.base_url={address}")


def test_a_model_that_generates_nothing_is_an_error(compose, shared_root, monkeypatch):
    """Its first token is the end: forced through the model's own generation config."""
    load = loading.load_base

    def mute(place, dtype, **options):
        model = load(place, dtype, **options)
        model.generation_config.forced_eos_token_id = model.generation_config.eos_token_id
        model.generation_config.suppress_tokens = [
            token for token in range(model.config.vocab_size) if token != model.generation_config.eos_token_id
        ]
        return model

    device.free()
    monkeypatch.setattr(loading, "load_base", mute)
    asked = ["evaluation=[gsm8k_short]", "evaluation.gsm8k.limit=3", "evaluation.gsm8k.max_new_tokens=4"]
    with pytest.raises(UserError, match="the model generated nothing for any question of gsm8k_zero_shot"):
        run(compose, shared_root, *asked)
    device.free()


def loaded(place, adapter=None):
    """A model as an evaluation takes it, and leaves it on the device."""
    with kept_model.loaded(str(place), adapter and str(adapter), "float32", "cpu") as model:
        return model


def test_sampling_defaults_of_the_model_folder_are_ignored(tmp_path):
    place = make_model(tmp_path / "penalised")
    written = json.loads((place / "generation_config.json").read_text())
    extra = {"repetition_penalty": 1.9, "do_sample": True, "top_k": 3, "temperature": 0.1}
    (place / "generation_config.json").write_text(json.dumps(written | extra))
    device.free()
    config = loaded(place).generation_config
    device.free()
    assert config.repetition_penalty in (None, 1.0)
    assert not config.do_sample
    assert config.eos_token_id == written["eos_token_id"]


def test_an_adapter_that_does_not_fit_the_base_is_an_error(tmp_path, mistral):
    wide = make_model(tmp_path / "wide")
    adapter = make_adapter(tmp_path / "adapter", wide)
    loading.check_adapter(str(wide), str(adapter))
    with pytest.raises(UserError, match=r"does not fit the model .*mistral.*layers\.0.*another base"):
        loaded(mistral, adapter)
    config = json.loads((adapter / "adapter_config.json").read_text())
    assert config["target_modules"]  # the layers have the same names in both: sizes tell them apart


def test_an_adapter_that_changes_nothing_is_an_error_that_names_it(compose, shared_root):
    asked = ["evaluation=[gsm8k_short]", "evaluation.gsm8k.limit=3", "evaluation.gsm8k.max_new_tokens=4"]
    zero = [*asked, "train.steps=1"]  # the warm-up's first rate is 0
    with pytest.raises(
        UserError, match=r"adapter .*/train/\w+/adapter changes no probability.*engine\.check_adapter"
    ):
        run(compose, shared_root, *zero)
    outcome = run(compose, shared_root, *zero, "engine.check_adapter=false")
    assert outcome.result["metrics"]["gsm8k/exact_match"]["n"] == 3


def test_the_next_model_is_loaded_when_the_last_one_is_gone(tmp_path, mistral, monkeypatch):
    other, first = make_model(tmp_path / "other"), weakref.ref(loaded(mistral))
    load, alive = loading.load_base, []
    monkeypatch.setattr(loading, "load_base", lambda *args: alive.append(first()) or load(*args))
    loaded(other)
    assert alive == [None]


def test_a_judge_that_is_served_here_finds_the_tuned_models_room(compose, tmp_path, mistral, monkeypatch):
    asked = ["+experiment=quickstart", "evaluation=[mt_bench]", "judge@evaluation.mt_bench.judge=vllm"]
    config = parse(compose(*asked, f"evaluation.mt_bench.judge.model={mistral}"))
    first, alive = weakref.ref(loaded(mistral)), []
    monkeypatch.setattr(VLLMServer, "start", lambda _: alive.append(first()))
    judge, console = config.evaluation.mt_bench.judge, Console(io.StringIO())
    with llm_judge.grader(judge, root=tmp_path, console=console, place=str(mistral)):
        assert alive == [None]
