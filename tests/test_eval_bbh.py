"""BBH through lm-eval on the real files: prompts, stops, extraction, and one test for each error."""

import json

import pytest

from eval.bbh import TASKS, VARIANTS, evaluate
from tests.eval_models import ScriptedLM, byte_tokenizer, shared_data, tiny_model


@pytest.fixture(scope="module")
def data():
    return shared_data("bbh")


def examples(data, task):
    return json.loads((data / f"{task}.json").read_text(encoding="utf-8"))["examples"]


def oracle(data, tasks, wording):
    """A model that knows every answer: the question is looked up in the prompt's last block."""
    known = {row["input"]: row["target"] for task in tasks for row in examples(data, task)}
    return ScriptedLM(lambda p: wording.format(known[p.rsplit("\nQ: ", 1)[-1].rsplit("\nA:", 1)[0]]))


# The reasoning of few-shot replies ends in "So the answer is X.", which the shipped rule takes apart.
def test_an_oracle_is_right_on_all_27_tasks(data):
    model = oracle(data, TASKS, "Thinking. So the answer is {}.")
    result = evaluate(model, data_dir=data, limit=2)
    wrong = {name: metric.value for name, metric in result.metrics.items() if metric.value < 1}
    assert wrong == {}
    assert len(result.metrics) == 28
    assert result.metrics["bbh/all"].n == 54
    assert [p.id for p in result.predictions["bbh/navigate"]] == ["navigate/0", "navigate/1"]


def test_few_shot_prompts_hold_three_examples_and_the_question(data):
    model = ScriptedLM(["So the answer is True."])
    evaluate(model, tasks=["boolean_expressions"], data_dir=data, limit=1)
    blocks = model.prompts[0].split("\n\nQ: ")
    assert len(blocks) == 5
    assert (
        blocks[-1] == examples(data, "boolean_expressions")[0]["input"] + "\nA: Let's think step by step.\n"
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_variant_stops_at_a_letter_or_lacks_a_length(variant, data):
    model = ScriptedLM(["Queens: (B)"] * 2)
    evaluate(model, variant=variant, tasks=["snarks"], data_dir=data, limit=2, stop=["<end>"])
    for settings in model.settings:
        assert "Q" not in settings["until"]
        assert {"</s>", "<end>"} <= set(settings["until"])
        assert any(text in settings["until"] for text in ("\nQ:", "Q:"))
        assert settings["max_gen_toks"] == VARIANTS[variant].max_gen_toks
        assert settings["do_sample"] is False


# The Hugging Face backend cuts at stop texts as servers do: an answer with a capital Q must survive.
def test_a_reply_with_a_capital_q_is_not_cut_by_the_backend(data):
    from lm_eval.models.utils import postprocess_generated_text

    model = ScriptedLM(["x"])
    evaluate(model, tasks=["ruin_names"], data_dir=data, limit=1)
    reply = "Queen is a band. So the answer is (A).\nQ: next?"
    cut = postprocess_generated_text(reply, model.settings[0]["until"], None)
    assert cut == "Queen is a band. So the answer is (A)."


@pytest.mark.parametrize(
    ("task", "reply", "value"),
    [
        ("web_of_lies", "No, so the final answer: no", 1),
        ("web_of_lies", "yes", 0),
        ("date_understanding", "I think it is (B)", 1),
        ("date_understanding", "I think it is (C)", 0),
        ("boolean_expressions", "That is False", 1),
    ],
)
def test_zero_shot_extraction(task, reply, value, data):
    result = evaluate(ScriptedLM([reply]), variant="cot_zeroshot", tasks=[task], data_dir=data, limit=1)
    prediction = result.predictions[f"bbh/{task}"][0]
    assert (prediction.value, prediction.output) == (value, reply)
    assert prediction.reference == examples(data, task)[0]["target"]


def test_render_puts_the_question_into_the_training_format(data):
    model = ScriptedLM(["(B)"])
    evaluate(
        model,
        variant="cot_zeroshot",
        tasks=["date_understanding"],
        data_dir=data,
        limit=1,
        render=lambda question: f"<user>{question}</user>",
        max_gen_toks=33,
    )
    question = examples(data, "date_understanding")[0]["input"]
    assert model.prompts == [
        f"<user>Infer the date from context.\n\n{question}\nLet's think step by step.</user>"
    ]
    assert model.settings[0]["max_gen_toks"] == 33


def test_a_real_model_runs_through(data):
    from lm_eval.models.huggingface import HFLM

    tasks = ["navigate", "word_sorting"]
    tokenizer = byte_tokenizer([row["input"] for task in tasks for row in examples(data, task)[:50]])
    backend = HFLM(pretrained=tiny_model("qwen3", len(tokenizer)), tokenizer=tokenizer, batch_size=4)
    result = evaluate(backend, variant="zeroshot", tasks=tasks, data_dir=data, limit=3, max_gen_toks=6)
    assert result.metrics["bbh/all"].n == 6
    assert all(p.output for p in result.predictions["bbh/all"])


def test_a_prompt_that_was_cut_is_told(data):
    from lm_eval.models.huggingface import HFLM

    tokenizer = byte_tokenizer(["abc"])
    model = tiny_model("mistral", len(tokenizer), positions=128)
    backend = HFLM(pretrained=model, tokenizer=tokenizer, batch_size=1)
    result = evaluate(backend, tasks=["navigate"], data_dir=data, limit=1, max_gen_toks=6)
    assert len(result.warnings) == 1
    assert "truncation" in result.warnings[0]


def test_bad_arguments_are_reported_together():
    with pytest.raises(
        ValueError, match=r"variant is 'cot'.*tasks is \['juggling'\].*limit is 0.*and 1 more"
    ):
        evaluate(ScriptedLM([]), variant="cot", tasks=["juggling"], limit=0, max_gen_toks=0)
    with pytest.raises(ValueError, match="render cannot be used with the few-shot variant cot_fewshot"):
        evaluate(ScriptedLM([]), render=str)
    with pytest.raises(ValueError, match=r"tasks is \['snarks', 'snarks'\]; give one or more different"):
        evaluate(ScriptedLM([]), tasks=["snarks", "snarks"])


def test_missing_broken_and_empty_files_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"snarks\.json is missing"):
        evaluate(ScriptedLM([]), tasks=["snarks"], data_dir=tmp_path)
    (tmp_path / "snarks.json").write_text('{"rows": []}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"snarks\.json is not a BBH file .*KeyError"):
        evaluate(ScriptedLM([]), tasks=["snarks"], data_dir=tmp_path)
    (tmp_path / "snarks.json").write_text('{"examples": ["a question"]}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"snarks\.json is not a BBH file"):
        evaluate(ScriptedLM([]), tasks=["snarks"], data_dir=tmp_path)
    (tmp_path / "snarks.json").write_text('{"examples": []}', encoding="utf-8")
    with pytest.raises(ValueError, match="no snarks questions"):
        evaluate(ScriptedLM([]), tasks=["snarks"], data_dir=tmp_path)


def test_a_model_that_generates_nothing_is_an_error(data):
    with pytest.raises(ValueError, match="generated nothing for any question of bbh_cot_fewshot_snarks"):
        evaluate(ScriptedLM([""]), tasks=["snarks"], data_dir=data, limit=1)
