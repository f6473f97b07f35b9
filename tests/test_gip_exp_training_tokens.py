"""What a model is trained on of a conversation: token ids and labels are TRL's, the loss lies where it belongs."""

import json
import math

import pytest
from chat_templates import chat_tokenizer, tiny_chat_model
from test_gip_exp_training_finetune import SETTINGS

from gip_exp.config.model import Prompt
from gip_exp.config.train import LoraTrain
from gip_exp.errors import UserError
from gip_exp.models import chat_template
from gip_exp.models.chat_template import ChatTemplate
from gip_exp.models.control_tokens import cleaner
from gip_exp.models.machine import Machine
from gip_exp.models.prompts import renderer
from gip_exp.training.finetune import finetune
from gip_exp.training.task import Task
from gip_exp.training.tokens import IGNORED, training_rows
from gip_exp.turns import as_texts


def settings(**changes):
    return LoraTrain(**(SETTINGS | {"max_length": 2048, "steps": 3} | changes))


def turn(role, content, **more):
    return {"role": role, "content": content, **more}


def example(*turns, tools=(), number=0):
    prompt, completion = as_texts(turns, tools)
    found = {"id": f"train-{number:06d}", "prompt": prompt, "completion": completion, "turns": list(turns)}
    return {**found, "tools": list(tools)} if tools else found


CALL = {"type": "function", "function": {"name": "area", "arguments": {"w": 5, "h": 3}}}
AREA = {"type": "function", "function": {"name": "area", "parameters": {"w": "number"}}}
ASKED, CALLED = turn("user", "How large?"), turn("assistant", "", tool_calls=[CALL])
RESULT, REPLY = turn("tool", "15"), turn("assistant", "It is 15.")
KINDS = {
    "system": example(turn("system", "Be brief."), turn("user", "Hi"), turn("assistant", "Hello.")),
    "turns": example(
        turn("user", "Hi"), turn("assistant", "Hello."), turn("user", "1+1?"), turn("assistant", "2")
    ),
    "tools": example(turn("system", "Use tools."), ASKED, CALLED, RESULT, REPLY, tools=[AREA]),
    "a call at the end": example(ASKED, CALLED, tools=[AREA]),
    "reasoning": example(
        turn("user", "1+1?"), turn("assistant", "2", reasoning_content="One and one."), turn("user", "2+2?"),
        turn("assistant", "4", reasoning_content="Two and two."),
    ),
}  # fmt: skip
PLAIN = [{"id": str(n), "prompt": f"What is {n}+1?", "completion": f"#### {n + 1}"} for n in range(5)]


def rows_of(family, examples, *, marked=False, **changes):
    """(tokenizer, training rows) of examples."""
    tokenizer = chat_tokenizer(family, marked=marked)
    render = renderer(Prompt(style="chat"), tokenizer)
    return tokenizer, training_rows(examples, render, tokenizer, settings(**changes))


def learnt(tokenizer, row):
    """The texts that the loss covers, in order."""
    parts, before = [], IGNORED
    for token, label in zip(row["input_ids"], row["labels"], strict=True):
        assert label in (IGNORED, token)
        if label != IGNORED:
            parts = [*parts, []] if before == IGNORED else parts
            parts[-1].append(token)
        before = label
    return [tokenizer.decode(part) for part in parts]


@pytest.fixture(scope="module")
def trl(tmp_path_factory):
    """TRL's own preparation: trl(tokenizer, row, **options) -> {"input_ids", "labels"} of one row."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    def prepared(tokenizer, row, **options):
        folder = tmp_path_factory.mktemp("trl")
        config = SFTConfig(
            output_dir=str(folder), max_length=2048, use_cpu=True, bf16=False, report_to="none", **options
        )
        trainer = SFTTrainer(
            model=str(tiny_chat_model(tokenizer, folder / "model")),
            args=config,
            train_dataset=Dataset.from_list([row]),
            processing_class=tokenizer,
        )
        return {name: trainer.train_dataset[0][name] for name in ("input_ids", "labels")}

    return prepared


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", ["qwen3", "llama3"])
def test_the_last_reply_is_learnt_as_trl_learns_a_prompt_and_completion_of_turns(family, kind, trl):
    tokenizer, found = rows_of(family, [KINDS[kind]])
    rendered = renderer(Prompt(style="chat"), tokenizer).rendered(KINDS[kind])
    told = {
        "prompt": rendered.turns[:-1],
        "completion": rendered.turns[-1:],
        "tools": json.dumps(rendered.tools),
        "chat_template_kwargs": rendered.options,
    }
    if not rendered.tools:
        del told["tools"]
    assert found.rows == [trl(tokenizer, told)]


# What is learnt of the last reply: it alone, with its end.
LAST = {
    ("qwen3", "system"): "Hello.<|im_end|>\n",
    ("qwen3", "turns"): "2<|im_end|>\n",
    ("qwen3", "tools"): "It is 15.<|im_end|>\n",
    ("qwen3", "a call at the end"): (
        '\n<tool_call>\n{"name": "area", "arguments": {"w": 5, "h": 3}}\n</tool_call><|im_end|>\n'
    ),
    ("qwen3", "reasoning"): "<think>\nTwo and two.\n</think>\n\n4<|im_end|>\n",
    ("llama3", "system"): "Hello.<|eot_id|>",
    ("llama3", "turns"): "2<|eot_id|>",
    ("llama3", "tools"): "It is 15.<|eot_id|>",
    ("llama3", "a call at the end"): '{"name": "area", "arguments": {"w": 5, "h": 3}}<|eot_id|>',
    ("llama3", "reasoning"): "4<|eot_id|>",
}


@pytest.mark.parametrize(("family", "kind"), LAST)
def test_the_loss_covers_the_last_reply_alone(family, kind):
    tokenizer, found = rows_of(family, [KINDS[kind]])
    assert learnt(tokenizer, found.rows[0]) == [LAST[family, kind]]
    whole = tokenizer.decode(found.rows[0]["input_ids"])
    assert ('"name": "area", "parameters": {"w": "number"}' in whole) == ("tools" in KINDS[kind])


@pytest.mark.parametrize("kind", ["turns", "tools", "reasoning"])
@pytest.mark.parametrize("family", ["qwen3", "llama3"])
def test_every_reply_is_learnt_as_trl_learns_it_without_the_empty_thought_that_the_prompt_gives(
    family, kind, trl
):
    tokenizer, found = rows_of(family, [KINDS[kind]], marked=True, loss_on="all_replies")
    rendered = renderer(Prompt(style="chat"), tokenizer).rendered(KINDS[kind])
    told = {"messages": rendered.turns, "chat_template_kwargs": rendered.options}
    told |= {"tools": json.dumps(rendered.tools)} if rendered.tools else {}
    theirs = trl(tokenizer, told, assistant_only_loss=True)
    assert found.rows[0]["input_ids"] == theirs["input_ids"]
    ours = learnt(tokenizer, found.rows[0])
    assert ours == [text.removeprefix("<think>\n\n</think>\n\n") for text in learnt(tokenizer, theirs)]
    assert len(ours) == 2


@pytest.mark.parametrize("first", ["Hello. ", " Hello.", "Hello."])
def test_a_space_at_the_edge_of_a_marked_reply_moves_no_loss(first):
    """With offsets trimmed as Llama 3's tokenizer does, transformers finds no token at such a space."""
    from tokenizers import processors

    tokenizer = chat_tokenizer("chatml")
    tokenizer.backend_tokenizer.post_processor = processors.ByteLevel(trim_offsets=True)
    tokenizer.chat_template = (
        "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' }}{% if m['role'] == 'assistant' %}"
        "{% generation %}{{ m['content'] }}{% endgeneration %}{% else %}{{ m['content'] }}{% endif %}"
        "{{ '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    )
    turns = example(
        turn("user", "Hi"), turn("assistant", first), turn("user", "1+1?"), turn("assistant", "2")
    )
    render = renderer(Prompt(style="chat"), tokenizer)
    found = training_rows([turns], render, tokenizer, settings(loss_on="all_replies"))
    assert learnt(tokenizer, found.rows[0]) == [first, "2"]


@pytest.mark.parametrize("kind", ["turns", "tools"])
def test_without_marks_the_replies_are_found_by_their_places(kind):
    tokenizer, found = rows_of("llama3", [KINDS[kind]], loss_on="all_replies")
    _, marked = rows_of("llama3", [KINDS[kind]], marked=True, loss_on="all_replies")
    assert found.rows == marked.rows
    tokenizer, found = rows_of("mistral", [KINDS["turns"]], loss_on="all_replies")
    assert learnt(tokenizer, found.rows[0]) == [" Hello.</s>", " 2</s>"]


def test_a_template_that_writes_turns_anew_and_marks_none_is_refused():
    with pytest.raises(
        UserError, match=r"train.loss_on=all_replies: the model's chat template changes earlier turns"
    ):
        rows_of("qwen3", [KINDS["turns"]], loss_on="all_replies")
    tokenizer = chat_tokenizer("chatml")
    plain = renderer(Prompt(style="plain", template="Q: {prompt}\nA:"), tokenizer)
    with pytest.raises(UserError, match=r"train.loss_on=all_replies needs a chat template"):
        training_rows([KINDS["turns"]], plain, tokenizer, settings(loss_on="all_replies"))


@pytest.mark.parametrize("family", ["qwen3", "llama3", "mistral", "chatml"])
@pytest.mark.parametrize("style", ["plain", "chat"])
def test_a_plain_question_and_answer_is_learnt_as_trl_learns_two_texts(family, style, trl):
    tokenizer = chat_tokenizer(family)
    config = Prompt(style=style, template="Q: {prompt}\nA:", completion_prefix=" ")
    render = renderer(config, tokenizer)
    for loss_on in ("last_reply", "all_replies"):
        found = training_rows(PLAIN[:2], render, tokenizer, settings(loss_on=loss_on))
        assert found.rows == [trl(tokenizer, render.training_row(one)) for one in PLAIN[:2]]
        assert learnt(tokenizer, found.rows[0]) == [f" #### 1{tokenizer.eos_token}"]


def test_a_plain_model_reads_the_transcript():
    tokenizer = chat_tokenizer("chatml")
    render = renderer(Prompt(style="plain", template="Q: {prompt}\nA:"), tokenizer)
    found = training_rows([KINDS["tools"]], render, tokenizer, settings())
    text = tokenizer.decode(found.rows[0]["input_ids"])
    assert text.startswith('Q: Use tools.\n\nTools:\n{"name": "area"')
    assert learnt(tokenizer, found.rows[0]) == ["It is 15.<|im_end|>"]


# What a template does not know stands in a text that it knows, and is said.


def test_what_a_template_knows_is_found_out():
    known = {
        family: ChatTemplate(chat_tokenizer(family), str)
        for family in ("qwen3", "llama3", "mistral", "chatml")
    }
    facts = ("system", "later_system", "tools", "calls", "results", "reasoning")
    found = {family: [getattr(template, fact) for fact in facts] for family, template in known.items()}
    assert found == {
        "qwen3": [True, True, True, True, True, "reasoning_content"],
        "llama3": [True, True, True, True, True, None],
        "mistral": [False, False, False, False, False, None],
        "chatml": [True, True, False, False, True, None],
    }


def test_nothing_is_lost_where_a_template_knows_little():
    tokenizer, found = rows_of("mistral", list(KINDS.values()))
    texts = [tokenizer.decode(row["input_ids"]) for row in found.rows]
    assert texts[0] == "<s>[INST] Be brief.\n\nHi [/INST] Hello.</s>"
    assert texts[2] == (
        '<s>[INST] Use tools.\n\nTools:\n{"name": "area", "parameters": {"w": "number"}}\n\nHow large? [/INST] '
        '{"name": "area", "arguments": {"w": 5, "h": 3}}</s>[INST] Tool: 15 [/INST] It is 15.</s>'
    )
    assert found.changes == {
        chat_template.NO_SYSTEM: [0, 2, 3],
        chat_template.NO_TOOLS: [2, 3],
        chat_template.NO_CALLS: [2, 3],
        chat_template.NO_RESULTS: [2],
        chat_template.NO_REASONING: [4],
    }
    notes = found.notes(lambda number: f"line {number + 1}", "train", 2048)
    assert notes[-1].startswith("1 of 5 examples have reasoning, which the chat template does not support")
    assert notes[-1].endswith("(first: line 5)")


def test_a_conversation_that_a_template_refuses_is_a_transcript():
    twice = example(ASKED, turn("assistant", "", tool_calls=[CALL, CALL]), RESULT, REPLY)
    tokenizer, found = rows_of("llama3", [twice])
    assert found.changes == {chat_template.REFUSED: [0]}
    text = tokenizer.decode(found.rows[0]["input_ids"])
    assert "User: How large?\n\nAssistant: {" in text
    assert learnt(tokenizer, found.rows[0]) == ["It is 15.<|eot_id|>"]


def test_earlier_reasoning_that_a_template_leaves_out_is_said():
    _, found = rows_of("qwen3", [KINDS["reasoning"]])
    assert found.changes == {chat_template.EARLIER_REASONING: [0]}


# Control tokens inside people's text.


@pytest.mark.parametrize(
    ("family", "token"), [("qwen3", "<|im_end|>"), ("llama3", "<|eot_id|>"), ("qwen3", "<think>")]
)
def test_control_tokens_in_a_text_stay_text(family, token):
    hostile = f"Hi{token}{token[:2]}{token}{token[2:]}"
    parts = [turn("system", hostile), turn("user", hostile), turn("assistant", "Yes" + token)]
    tool = {"type": "function", "function": {"name": "f", "description": hostile}}
    harmless = [turn(one["role"], "x") for one in parts]
    special = chat_tokenizer(family).convert_tokens_to_ids(token)
    counts = []
    for turns, tools in ((parts, [tool]), (harmless, [{"type": "function", "function": {"name": "f"}}])):
        _, found = rows_of(family, [example(*turns, tools=tools)])
        counts.append(found.rows[0]["input_ids"].count(special))
    assert counts[0] == counts[1] > 0
    question = {"id": "0", "prompt": hostile, "completion": hostile}
    tokenizer, found = rows_of(family, [question, PLAIN[0]])
    assert found.rows[0]["input_ids"].count(special) == found.rows[1]["input_ids"].count(special)
    assert f"{token[0]} {token[1:-1]} {token[-1]}" in tokenizer.decode(found.rows[0]["input_ids"])


def test_added_tokens_that_are_words_are_left_alone():
    tokenizer = chat_tokenizer("qwen3")
    tokenizer.add_tokens(["gallon", "    "])
    assert cleaner(tokenizer)("a gallon    of <|im_end|>") == "a gallon    of < |im_end| >"


# Rows longer than the longest length.


def test_rows_that_are_too_long_are_cut_or_dropped_and_named():
    long_answer = {"id": "1", "prompt": "Count.", "completion": "1 " * 300}
    long_prompt = {"id": "2", "prompt": "1 " * 300, "completion": "Many."}
    mixed = [PLAIN[0], long_answer, long_prompt, PLAIN[1]]
    _, cut = rows_of("chatml", mixed, max_length=200)
    assert cut.kept.tolist() == [0, 1, 3]
    assert [len(row["input_ids"]) == 200 for row in cut.rows] == [False, True, False]

    def name(number):
        return f"row {number + 1} of a.jsonl"

    assert cut.notes(name, "train", 200) == [
        "1 of 4 examples are longer than train.max_length=200 and are truncated (row 2 of a.jsonl)",
        "1 of 4 examples are left out: their prompts fill train.max_length=200 tokens, so no token of the answer "
        "remains (row 3 of a.jsonl)",
    ]
    _, dropped = rows_of("chatml", mixed, max_length=200, too_long="drop")
    assert dropped.kept.tolist() == [0, 3]
    assert dropped.notes(name, "train", 200) == [
        "2 of 4 examples are left out: they are longer than train.max_length=200 (train.too_long=drop) "
        "(row 2 of a.jsonl, row 3 of a.jsonl)"
    ]


def test_turns_are_trained_on_for_a_few_steps(tmp_path):
    tokenizer, found = rows_of("qwen3", [*KINDS.values(), *PLAIN])
    place = str(tiny_chat_model(tokenizer, tmp_path / "model"))
    train = settings(batch=4, require_loss_fall=False, dropout=0.0)
    done = finetune(
        Task(found.rows, train, Machine(place, "float32", "cpu"), tmp_path / "work", tmp_path / "adapter")
    )
    assert len(done.history) == 3
    assert all(math.isfinite(step["loss"]) for step in done.history)
    assert (tmp_path / "adapter" / "adapter_model.safetensors").is_file()
