"""What an evaluation lacks is said before any work, each with its remedy."""

import io
import shutil

import pytest

from eval.bbh import HUB
from eval.lm_harness import shipped_config
from gip_exp import pipeline
from gip_exp.config import parse
from gip_exp.console import Console
from gip_exp.errors import UserError
from gip_exp.evaluation import tasks
from gip_exp.evaluation.registry import missing_requirements
from gip_exp.models import hub, loading
from gip_exp.signals import judge_requirements
from tests.conftest import MICRO

SHORT = [setting for setting in MICRO if not setting.startswith("evaluation.")]


@pytest.fixture
def lacks(compose, tmp_path):
    """lacks(NAME, overrides...): what the evaluation lacks."""

    def ask(name, *overrides):
        config = parse(compose(*SHORT, f"paths.root={tmp_path}", f"evaluation=[{name}]", *overrides))
        return missing_requirements(config, name)

    return ask


@pytest.fixture
def unreachable(monkeypatch):
    monkeypatch.setattr(hub, "no_answer", lambda _: "no answer within 3 s")
    monkeypatch.setattr(hub, "unreachable", lambda: "no answer within 3 s")


@pytest.fixture
def reachable(monkeypatch):
    monkeypatch.setattr(hub, "no_answer", lambda _: "")


def test_an_unknown_task_is_named_with_those_that_exist(lacks, data_dir):
    (problem,) = lacks(
        "bbh", "evaluation.bbh.tasks=[navigate,nagivate]", f"evaluation.bbh.data_dir={data_dir}/bbh"
    )
    assert "['nagivate']" in problem
    assert "navigate" in problem.split("BBH's tasks: ")[1]


def test_bbh_without_a_folder_or_the_hub_asks_for_one(lacks, unreachable):
    (problem,) = lacks("bbh")
    assert "evaluation.bbh.data_dir is not set" in problem
    assert shipped_config("bbh", "zeroshot", "navigate.yaml")["dataset_path"] == HUB
    assert HUB in problem


def test_bbh_with_a_folder_that_lacks_a_task_names_its_file(lacks, data_dir, tmp_path):
    shutil.copy(data_dir / "bbh" / "navigate.json", tmp_path)
    (problem,) = lacks("bbh", "evaluation.bbh.tasks=[navigate,snarks]", f"evaluation.bbh.data_dir={tmp_path}")
    assert "there is no snarks.json; put them there" in problem


def test_an_address_where_nobody_answers_is_named_by_its_key(lacks, data_dir, unreachable):
    files = f"evaluation.mt_bench.data_dir={data_dir}/mt_bench"
    (problem,) = lacks("mt_bench", files, "evaluation.mt_bench.judge.base_url=http://127.0.0.1:9/v1")
    assert problem.startswith(
        "evaluation.mt_bench.judge.base_url=http://127.0.0.1:9/v1: no server answers there"
    )


def test_a_reply_that_leaves_no_room_for_its_prompt_is_refused_before_any_work(lacks):
    (problem,) = lacks("gsm8k", "evaluation.gsm8k.max_new_tokens=512", "model.scratch.context=512")
    assert problem.startswith("evaluation.gsm8k.max_new_tokens=512 leaves no room for a prompt")


def test_mt_bench_files_are_asked_for_where_they_cannot_be_downloaded(lacks, unreachable):
    problem = "; ".join(lacks("mt_bench", "evaluation.mt_bench.judge.base_url=http://127.0.0.1:9/v1"))
    assert "evaluation.mt_bench.data_dir is not set" in problem
    assert "question.jsonl, judge_prompts.jsonl, reference_answer_gpt-4.jsonl" in problem


def test_a_changed_questions_file_stops_a_run_before_any_work(compose, data_dir, tmp_path):
    shutil.copytree(data_dir / "mt_bench", tmp_path / "files")
    path = tmp_path / "files" / "question.jsonl"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"Hawaii", b"Hawai"))
    overrides = [
        "evaluation=[mt_bench]",
        f"evaluation.mt_bench.data_dir={tmp_path}/files",
        "evaluation.mt_bench.judge.base_url=http://127.0.0.1:9/v1",
        f"paths.root={tmp_path}/out",
    ]
    with pytest.raises(UserError, match=r"data_dir: .*question\.jsonl has sha256 .*, the published"):
        pipeline.run(parse(compose(*SHORT, *overrides)), Console(io.StringIO()))
    assert not (tmp_path / "out").exists()


def test_a_judge_s_votes_are_refused_for_mt_bench(lacks, data_dir, reachable):
    (problem,) = lacks(
        "mt_bench",
        f"evaluation.mt_bench.data_dir={data_dir}/mt_bench",
        "evaluation.mt_bench.judge.base_url=http://127.0.0.1:9/v1",
        "evaluation.mt_bench.judge.votes=3",
    )
    assert "votes=3: use evaluation.mt_bench.repeats instead" in problem


def test_a_form_for_replies_is_refused_where_nobody_can_hold_to_it(lacks, data_dir, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "unused")
    files = f"evaluation.mt_bench.data_dir={data_dir}/mt_bench"
    (problem,) = lacks("mt_bench", files, "evaluation.mt_bench.judge_reply=rating")
    assert "judge_reply=rating: only vLLM servers can restrict the form of a reply" in problem


def test_vllm_is_asked_for_by_the_evaluations_that_use_it(lacks, data_dir, monkeypatch, reachable):
    import importlib.util

    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    played = [
        f"evaluation.mt_bench.data_dir={data_dir}/mt_bench",
        "evaluation.mt_bench.judge.base_url=http://127.0.0.1:9/v1",
    ]
    (problem,) = lacks("mt_bench", "engine=vllm", *played)
    assert problem.startswith("engine=vllm needs vLLM")
    assert len(lacks("gsm8k", "engine=vllm", "evaluation.gsm8k.max_new_tokens=64")) == 1
    assert lacks("answer_nll", "engine=vllm") == []


def test_a_gpu_that_is_not_there_is_said_before_any_work(compose, tmp_path, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"engine\.device=cuda, but torch sees no CUDA device"):
        pipeline.run(
            parse(compose(*MICRO, f"paths.root={tmp_path}", "engine.device=cuda")), Console(io.StringIO())
        )
    assert list(tmp_path.iterdir()) == []


def test_data_without_test_rows_stop_an_evaluation_on_them_before_anything_is_trained(compose, tmp_path):
    rows = "".join(f'{{"prompt": "{n} + 1?", "completion": "{n + 1}"}}\n' for n in range(40))
    (tmp_path / "rows.jsonl").write_text(rows)
    overrides = [
        "+experiment=gsm8k_cpu",
        "data=own",
        f"data.path={tmp_path}/rows.jsonl",
        f"paths.root={tmp_path}/out",
    ]
    with pytest.raises(UserError, match=r"evaluation=\['gsm8k', 'answer_nll'\]: the data has no test rows"):
        pipeline.run(parse(compose(*overrides)), Console(io.StringIO()))
    assert [path.name for path in (tmp_path / "out" / "store").iterdir()] == ["data"]


def test_half_a_model_in_the_hubs_cache_is_a_message(tmp_path, monkeypatch):
    """Offline, the hub's client gives what it has, be it the config alone."""
    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *_, **__: str(tmp_path))
    with pytest.raises(UserError, match=r"the model some/model.* has no \*.safetensors weights"):
        loading.fetched("some/model", None)


SUMS = """\
task: sums
dataset_path: json
dataset_kwargs: {{data_files: {{test: {rows}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{q}}}}"
doc_to_target: "{{{{a}}}}"
generation_kwargs: {{until: ["\\n"], max_gen_toks: 5}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
"""


@pytest.fixture
def sums(tmp_path):
    """A folder with the definition of a task of lm-eval and its questions."""
    folder = tmp_path / "definitions"
    folder.mkdir()
    (folder / "rows.jsonl").write_text(
        "".join(f'{{"q": "{n} + {n} =", "a": "{2 * n}"}}\n' for n in range(1, 9))
    )
    (folder / "sums.yaml").write_text(SUMS.format(rows=folder / "rows.jsonl"))
    return folder


def test_tasks_of_lm_eval_need_a_name_and_data(lacks, unreachable, sums, tmp_path):
    (problem,) = lacks("lm_eval", "evaluation.lm_eval.tasks=[gsm9k]")
    assert (
        "evaluation.lm_eval: tasks is ['gsm9k']: lm-eval has no gsm9k; `lm_eval ls tasks` lists the names"
        in problem
    )
    (problem,) = lacks("lm_eval", "evaluation.lm_eval.tasks=[ifeval,ai2_arc]")
    assert "the data allenai/ai2_arc, google/IFEval is not in the local cache" in problem
    assert "no answer within 3 s" in problem
    (problem,) = lacks(
        "lm_eval", "evaluation.lm_eval.tasks=[sums]", f"evaluation.lm_eval.include_path={tmp_path}/no"
    )
    assert "is not a folder" in problem
    own = ["evaluation.lm_eval.tasks=[sums]", f"evaluation.lm_eval.include_path={sums}"]
    assert lacks("lm_eval", *own) == []
    (sums / "rows.jsonl").unlink()
    (problem,) = lacks("lm_eval", *own)
    assert problem.endswith(f"there is no {sums}/rows.jsonl")


def test_tasks_of_lm_eval_are_run_and_their_data_is_part_of_the_key(compose, tmp_path, sums):
    def run():
        own = [
            "evaluation=[lm_eval]",
            "evaluation.lm_eval.tasks=[sums]",
            f"evaluation.lm_eval.include_path={sums}",
        ]
        config = parse(compose(*SHORT, f"paths.root={tmp_path / 'outputs'}", "selector=random", *own))
        return pipeline.run(config, Console(io.StringIO()))

    first = run()
    metric = first.result["metrics"]["lm_eval/sums.exact_match"]
    assert metric["n"] == 8
    lines = next(first.folder.glob("predictions/lm_eval/*.jsonl")).read_text().splitlines()
    assert len(lines) == 8
    with (sums / "rows.jsonl").open("a") as stream:
        stream.write('{"q": "9 + 9 =", "a": "18"}\n')
    assert run().result["metrics"]["lm_eval/sums.exact_match"]["n"] == 9


def test_likelihoods_are_computed_in_this_process_with_either_engine(compose, tmp_path, sums, monkeypatch):
    """vLLM's likelihoods of prompts under an adapter are wrong, or end its server."""
    choice = SUMS.replace("task: sums", "task: choice").replace("generate_until", "multiple_choice")
    choice = choice.replace("generation_kwargs:", 'doc_to_choice: ["2", "4"]\ngeneration_kwargs:')
    choice = choice.replace("metric: exact_match", "metric: acc")
    (sums / "rows.jsonl").write_text('{"q": "1 + 1 =", "a": 0}\n{"q": "2 + 2 =", "a": 1}\n')
    (sums / "choice.yaml").write_text(choice.format(rows=sums / "rows.jsonl"))
    monkeypatch.setattr(tasks, "serve", None)
    monkeypatch.setattr(judge_requirements, "missing_vllm", lambda *_: [])
    own = [
        "evaluation=[lm_eval]",
        "evaluation.lm_eval.tasks=[choice]",
        f"evaluation.lm_eval.include_path={sums}",
    ]
    common = [*SHORT, f"paths.root={tmp_path / 'outputs'}", "selector=random", "untuned=false", *own]
    served = pipeline.run(parse(compose(*common, "engine=vllm")), Console(said := io.StringIO()))
    assert "choice: likelihoods are computed in this process, not by vLLM" in said.getvalue()
    assert served.result["metrics"]["lm_eval/choice.acc"]["n"] == 2
    monkeypatch.undo()
    local = pipeline.run(parse(compose(*common)), Console(io.StringIO()))
    both = [next(run.folder.glob("predictions/lm_eval/*.jsonl")).read_text() for run in (served, local)]
    assert both[0] == both[1]
