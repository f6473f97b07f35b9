"""GSM8K through lm-eval: what reaches the model, what counts as right, and one test for each error."""

import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import torch

from eval.gsm8k import few_shot, zero_shot
from eval.lm_harness import quiet_lm_eval, shipped_config
from tests.eval_models import ScriptedLM, byte_tokenizer, shared_data, tiny_model


def gsm8k_rows(name, count):
    with shared_data("gsm8k", f"{name}.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(next(lines)) for _ in range(count)]


def row(number, reference, prompt="Q: 1 + 1?\nA:\n\n"):
    return {"id": f"q{number}", "prompt": prompt, "reference": reference}


def test_zero_shot_hands_the_rendered_prompt_and_settings_to_the_model_unchanged():
    prompt = "<|im_start|>user\n {{x}} 100%?<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    model = ScriptedLM(["#### 2"])
    zero_shot(model, [row(0, "#### 2", prompt)], stop=["<|im_end|>"], max_gen_toks=77)
    assert model.prompts == [prompt]
    assert model.settings[0]["until"] == ["<|im_end|>"]
    assert model.settings[0]["max_gen_toks"] == 77
    assert model.settings[0]["do_sample"] is False


# strict wants "#### N"; a dollar sign, commas and a full stop at the end are ignored, a later "####" too.
@pytest.mark.parametrize(
    ("reply", "strict", "flexible"),
    [
        ("1 + 1 = 2\n#### 2", 1, 1),
        ("#### 2.", 1, 1),
        ("#### 2\n\nQuestion: 3?\n#### 5", 1, 0),
        ("The answer is 2", 0, 1),
        ("#### 3, not 2", 0, 1),
        ("no idea", 0, 0),
        ("", 0, 0),
    ],
)
def test_strict_and_flexible_extraction(reply, strict, flexible):
    model = ScriptedLM([reply, "#### 1,234"])
    rows = [row(0, "1 + 1 = 2\n#### 2"), row(1, "1234")]
    result = zero_shot(model, rows, stop=[], max_gen_toks=8)
    assert [p.value for p in result.predictions["gsm8k/exact_match"]] == [strict, 1]
    assert [p.value for p in result.predictions["gsm8k/flexible_match"]] == [flexible, 1]
    assert result.predictions["gsm8k/exact_match"][0].as_dict() == {
        "id": "q0",
        "value": strict,
        "output": reply,
        "reference": "1 + 1 = 2\n#### 2",
    }
    metric = result.metrics["gsm8k/exact_match"]
    assert (metric.value, metric.n) == ((strict + 1) / 2, 2)
    assert 0 <= metric.low < metric.high <= 1


def test_replies_stay_with_their_questions_when_the_backend_reorders_them():
    rows = [row(i, f"#### {i}", prompt="x" * (i % 7 + 1) + f" {i}") for i in range(20)]
    model = ScriptedLM(lambda prompt: f"#### {prompt.split()[-1]}")
    result = zero_shot(model, rows, stop=[], max_gen_toks=8)
    assert result.metrics["gsm8k/exact_match"].value == 1.0
    assert [p.id for p in result.predictions["gsm8k/exact_match"]] == [f"q{i}" for i in range(20)]


@pytest.mark.parametrize("family", ["qwen3", "mistral"])
def test_hugging_face_backend_answers_as_greedy_generation_does(family):
    from lm_eval.models.huggingface import HFLM

    questions = gsm8k_rows("test", 6)
    rows = [
        {"id": f"q{i}", "prompt": f"Question: {q['question']}\nAnswer:\n", "reference": q["answer"]}
        for i, q in enumerate(questions)
    ]
    tokenizer = byte_tokenizer([q["question"] for q in questions], family)
    model = tiny_model(family, len(tokenizer))
    backend = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=4)
    result = zero_shot(backend, rows, stop=[], max_gen_toks=12)
    for prediction, given in zip(result.predictions["gsm8k/exact_match"], rows, strict=True):
        ids = tokenizer(given["prompt"], return_tensors="pt")["input_ids"]
        with torch.inference_mode():
            out = model.generate(ids, max_new_tokens=12, do_sample=False, pad_token_id=0)
        assert prediction.output == tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True)


def test_few_shot_is_lm_evals_task_on_local_files(tmp_path):
    for name in ("train", "test"):
        lines = [json.dumps(q) for q in gsm8k_rows(name, 30)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    model = ScriptedLM(lambda _: "so it is #### 18")
    result = few_shot(model, test=tmp_path / "test.jsonl", train=tmp_path / "train.jsonl", limit=3)
    shots = model.prompts[0].split("\n\nQuestion: ")
    assert len(shots) == 6
    assert shots[0].startswith("Question: ")
    assert shots[-1] == gsm8k_rows("test", 1)[0]["question"] + "\nAnswer:"
    assert model.settings[0]["until"] == ["Question:", "</s>", "<|im_end|>"]
    # The first test question's answer is 18, the next two are not.
    assert [p.value for p in result.predictions["gsm8k/few_shot_exact_match"]] == [1, 0, 0]
    assert [p.id for p in result.predictions["gsm8k/few_shot_exact_match"]] == ["0", "1", "2"]
    assert result.metrics["gsm8k/few_shot_flexible_match"].n == 3


def test_few_shot_equals_simple_evaluate_on_the_shipped_file(tmp_path):
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    test, train = gsm8k_rows("test", 20), gsm8k_rows("train", 40)
    for name, rows in (("test", test), ("train", train)):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    files = {name: str(tmp_path / f"{name}.jsonl") for name in ("test", "train")}
    local = {"data_files": files, "cache_dir": str(tmp_path / "cache")}
    config = shipped_config("gsm8k", "gsm8k.yaml")
    config |= {"dataset_path": "json", "dataset_name": None, "dataset_kwargs": local}

    def reply(prompt):
        return f"so #### {len(prompt) % 5}, no, {len(prompt) % 20}"

    theirs, ours = ScriptedLM(reply), ScriptedLM(reply)
    with quiet_lm_eval():
        expected = simple_evaluate(
            theirs,
            tasks=[config],
            task_manager=TaskManager(include_defaults=False),
            bootstrap_iters=0,
            random_seed=None,
            numpy_random_seed=None,
            torch_random_seed=None,
        )
    result = few_shot(ours, test=test, train=train)
    assert ours.prompts == theirs.prompts
    for rule, name in (("strict-match", "exact_match"), ("flexible-extract", "flexible_match")):
        value = expected["results"]["gsm8k"][f"exact_match,{rule}"]
        assert result.metrics[f"gsm8k/few_shot_{name}"].value == pytest.approx(value)


class CompletionServer:
    """An OpenAI-style completions endpoint on a free port that answers every prompt, or always fails."""

    def __init__(self, broken=False):
        requests = self.requests = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                requests.append(body)
                prompts = body["prompt"] if isinstance(body["prompt"], list) else [body["prompt"]]
                choices = [{"index": i, "text": f"#### {p[-1]}"} for i, p in enumerate(prompts)]
                self.send_response(500 if broken else 200)
                self.send_header("Content-Type", "application/json")
                self.end_headers()
                self.wfile.write(json.dumps({"choices": choices}).encode())

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1/completions"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()

    def model(self):
        from lm_eval.models.openai_completions import LocalCompletionsAPI

        return LocalCompletionsAPI(
            model="adapter-a",
            base_url=self.url,
            tokenizer_backend=None,
            tokenized_requests=False,
            batch_size=2,
            max_retries=1,
            num_concurrent=2,
        )


def test_a_server_is_evaluated_through_local_completions():
    rows = [row(i, f"#### {i}", prompt=f"number {i}") for i in range(5)]
    with CompletionServer() as server:
        result = zero_shot(server.model(), rows, stop=["<|im_end|>"], max_gen_toks=9)
        assert result.metrics["gsm8k/exact_match"].value == 1.0
        for request in server.requests:
            assert (request["model"], request["max_tokens"]) == ("adapter-a", 9)
            assert (request["temperature"], request["stop"][0]) == (0, "<|im_end|>")


def test_a_failing_server_raises_instead_of_scoring_zero():
    with CompletionServer(broken=True) as server, pytest.raises(Exception, match="500"):
        zero_shot(server.model(), [row(0, "#### 2")], stop=[], max_gen_toks=9)


def test_few_shot_accepts_rows_and_draws_the_same_examples_each_time():
    test, train = gsm8k_rows("test", 4), gsm8k_rows("train", 30)
    first, second = ScriptedLM(["#### 1"] * 4), ScriptedLM(["#### 1"] * 4)
    for model in (first, second):
        few_shot(model, test=test, train=train, num_fewshot=2, max_gen_toks=9)
    assert first.prompts == second.prompts
    assert first.settings[0]["max_gen_toks"] == 9


def test_evaluation_is_silent_and_leaves_loggers_and_progress_bars_as_they_were(capfd):
    from tqdm import tqdm

    logger, show = logging.getLogger("lm_eval"), tqdm.__init__
    before = logger.level, logger.propagate, logger.handlers[:]
    zero_shot(ScriptedLM(["#### 2"], chatter=True), [row(0, "#### 2")], stop=[], max_gen_toks=8)
    assert capfd.readouterr() == ("", "")
    assert (logger.level, logger.propagate, logger.handlers) == before
    assert tqdm.__init__ is show


def test_warnings_that_touch_the_numbers_are_kept_once_and_the_rest_is_not():
    with quiet_lm_eval() as heard:
        logging.getLogger("lm_eval.models").warning("Left truncation applied.")
        logging.getLogger("lm_eval.tasks").warning("Overwriting default num_fewshot")
    assert heard == ["Left truncation applied."]
    model = ScriptedLM(["#### 2", "#### 2"], warning="Left truncation applied.")
    result = zero_shot(model, [row(0, "2"), row(1, "2")], stop=[], max_gen_toks=8)
    assert result.warnings == ("Left truncation applied.",)


def test_a_model_that_generates_nothing_is_an_error():
    with pytest.raises(
        ValueError, match=r"generated nothing for any question of gsm8k_zero_shot.*stop strings"
    ):
        zero_shot(ScriptedLM(["", ""]), [row(0, "2"), row(1, "2")], stop=[], max_gen_toks=8)


def test_the_error_about_silence_passes_on_what_lm_eval_warned_of():
    with pytest.raises(ValueError, match=r"prompt format \(lm-eval warned: Left truncation applied\.\)"):
        zero_shot(
            ScriptedLM([""], warning="Left truncation applied."), [row(0, "2")], stop=[], max_gen_toks=8
        )


def test_an_unanswered_request_is_an_error_and_not_a_wrong_answer():
    with pytest.raises(RuntimeError, match="left questions unanswered: q1"):
        zero_shot(ScriptedLM(["#### 2", None]), [row(0, "2"), row(1, "2")], stop=[], max_gen_toks=8)


def test_bad_question_rows_are_reported_together():
    with pytest.raises(
        ValueError, match="no questions: give at least one row with the fields id, prompt, ref"
    ):
        zero_shot(ScriptedLM([]), [], stop=[], max_gen_toks=8)
    rows = [row(0, "2"), row(0, ""), {"prompt": "x", "reference": None}]
    with pytest.raises(ValueError, match=r"repeats the id 'q0' of row 0; row 1: reference is ''.*and 1 more"):
        zero_shot(ScriptedLM([]), rows, stop=[], max_gen_toks=8)


def test_replies_longer_than_the_context_are_refused_beforehand():
    model = ScriptedLM(["#### 2"], max_length=64)
    with pytest.raises(ValueError, match="max_gen_toks is 64, but the model's context is 64 tokens"):
        zero_shot(model, [row(0, "2")], stop=[], max_gen_toks=64)
    with pytest.raises(ValueError, match="max_gen_toks is 0; allow at least 1"):
        zero_shot(model, [row(0, "2")], stop=[], max_gen_toks=0)


def test_several_processes_are_refused():
    with pytest.raises(ValueError, match="runs as 2 processes"):
        zero_shot(ScriptedLM(["#### 2"], world_size=2), [row(0, "2")], stop=[], max_gen_toks=8)


def test_requests_without_the_start_token_of_training_are_refused(tmp_path):
    from lm_eval.models.openai_completions import LocalCompletionsAPI

    byte_tokenizer(["abc"], "mistral").save_pretrained(tmp_path)
    url = "http://127.0.0.1:9/v1/completions"

    def model(**options):
        return LocalCompletionsAPI(
            model="a", base_url=url, tokenizer=str(tmp_path), tokenizer_backend="huggingface", **options
        )

    with pytest.raises(ValueError, match=r"requests omit <s>.*add_bos_token=True"):
        zero_shot(model(), [row(0, "#### 2")], stop=[], max_gen_toks=8)
    for kept in (model(add_bos_token=True), model(tokenized_requests=False)):
        with pytest.raises(ValueError, match="max_gen_toks is 4096") as caught:
            zero_shot(kept, [row(0, "#### 2")], stop=[], max_gen_toks=4096)
        assert "omit" not in str(caught.value)


def test_questions_with_unusual_line_separators_stay_one_row(tmp_path):
    line = json.dumps({"question": "1\u2028+ 1?\u0085", "answer": "#### 2"}, ensure_ascii=False)
    (tmp_path / "q.jsonl").write_text(line + "\n", encoding="utf-8")
    model = ScriptedLM(["#### 2"])
    result = few_shot(model, test=tmp_path / "q.jsonl", train=tmp_path / "q.jsonl", num_fewshot=0)
    assert result.metrics["gsm8k/few_shot_exact_match"].n == 1


def test_few_shot_names_missing_and_broken_files(tmp_path):
    rows = [{"question": "1 + 1?", "answer": "#### 2"}]
    with pytest.raises(ValueError, match=r"give both test and train.*num_fewshot is -1.*limit is 0"):
        few_shot(ScriptedLM([]), test=rows, num_fewshot=-1, limit=0)
    with pytest.raises(ValueError, match=r"nowhere\.jsonl is not a file"):
        few_shot(ScriptedLM([]), test=tmp_path / "nowhere.jsonl", train=rows)
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"question": "a", "answer": "b"}\n{"question"\n', encoding="utf-8")
    with pytest.raises(ValueError, match="line 2 is not JSON"):
        few_shot(ScriptedLM([]), test=broken, train=rows)
    broken.write_text('{"question": "a", "answer": "b"}\n["a", "b"]\n', encoding="utf-8")
    with pytest.raises(ValueError, match="line 2 is not an object"):
        few_shot(ScriptedLM([]), test=broken, train=rows)
    with pytest.raises(ValueError, match="num_fewshot is 5, but there are only 1 train"):
        few_shot(ScriptedLM([]), test=rows, train=rows)
