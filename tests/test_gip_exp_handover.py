"""Exports: each format is loaded by the library that reads it, and holds the turns of the selected rows."""

import json

import pytest

from gip_exp import pipeline
from gip_exp.config import parse
from gip_exp.console import Console
from gip_exp.handover import formats
from gip_exp.storage.files import read_jsonl

TOOLS = [{"type": "function", "function": {"name": "area", "parameters": {"w": "number"}}}]


def call(**arguments):
    return {"type": "function", "function": {"name": "area", "arguments": arguments}}


EXAMPLES = [
    {"id": "a", "prompt": "Hi | <b>?", "completion": "Yes", "rank": 1, "gain": 2.0, "source": "x", "row": 3},
    {
        "id": "b",
        "prompt": "...",
        "completion": "15",
        "rank": 2,
        "gain": 1.0,
        "source": "x",
        "row": 9,
        "tools": TOOLS,
        "turns": [
            {"role": "system", "content": "Use tools."},
            {"role": "user", "content": "5 by 3, and 2 by 2?"},
            {"role": "assistant", "content": "", "tool_calls": [call(w=5, h=3), call(side=2)]},
            {"role": "tool", "content": "15"},
            {"role": "tool", "content": "4"},
            {"role": "assistant", "content": "15 and 4", "reasoning_content": "The tool said so."},
        ],
    },
    {
        "id": "c",
        "prompt": "...",
        "completion": "Le café",
        "rank": 3,
        "gain": 0.5,
        "source": "x",
        "row": 1,
        "turns": [
            {"role": "user", "content": "Tea?"},
            {"role": "assistant", "content": "Leaves."},
            {"role": "system", "content": "Answer in French."},
            {"role": "user", "content": "Coffee?"},
            {"role": "assistant", "content": "Le café"},
        ],
    },
]


def test_hf_is_a_data_set_of_turns(tmp_path):
    import datasets

    assert formats.hf(EXAMPLES, tmp_path) == []
    loaded = datasets.load_dataset(str(tmp_path), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded["messages"][1] == EXAMPLES[1]["turns"]  # with the arguments of each call, and no others
    assert loaded["messages"][0] == [
        {"role": "user", "content": "Hi | <b>?"},
        {"role": "assistant", "content": "Yes"},
    ]
    assert loaded["tools"][1] == TOOLS
    assert [loaded["id"][:], loaded["rank"][:], loaded["row"][:]] == [["a", "b", "c"], [1, 2, 3], [3, 9, 1]]


def test_trl_learns_the_last_reply_of_the_rows(tmp_path):
    """One step of `SFTTrainer` on the file as it is; the labels are the reply alone."""
    import datasets
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
    from trl import SFTConfig, SFTTrainer

    assert formats.trl([EXAMPLES[0], EXAMPLES[2]], tmp_path) == []
    data = datasets.load_dataset("parquet", data_files=str(tmp_path / "train.parquet"), split="train")
    words = [
        "[UNK]",
        "<end>",
        "Hi",
        "|",
        "<",
        "b",
        ">?",
        "Yes",
        "Tea",
        "?",
        "Leaves",
        ".",
        "Coffee",
        "Le",
        "café",
    ]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="[UNK]")
    fast.chat_template = (
        "{% for m in messages %}{{ m['role'] }} {{ m['content'] }} <end>{% endfor %}"
        "{% if add_generation_prompt %}assistant {% endif %}"
    )
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=16, hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1
        )
    )
    options = SFTConfig(
        output_dir=str(tmp_path / "out"), max_steps=1, per_device_train_batch_size=2, report_to=[], use_cpu=True,
        save_strategy="no", completion_only_loss=True, bf16=False,
    )  # fmt: skip
    trainer = SFTTrainer(model, args=options, train_dataset=data, processing_class=fast)
    (batch,) = list(trainer.get_train_dataloader())
    learnt = [fast.decode(row[row != -100]) for row in batch["labels"]]
    assert sorted(text.split()[0] for text in learnt) == ["Le", "Yes"]
    before = model.lm_head.weight.detach().clone()
    trainer.train()
    assert not torch.equal(before, model.lm_head.weight)


def test_llamafactory_has_alternating_turns_and_an_entry_that_names_them(tmp_path):
    notes = formats.llamafactory(EXAMPLES, tmp_path)
    rows = json.loads((tmp_path / "gip.json").read_text())
    entry = json.loads((tmp_path / "dataset_info.json").read_text())["gip"]
    assert entry["file_name"] == "gip.json"
    assert [len(row["messages"]) for row in rows] == [2, 4]
    assert rows[1]["system"] == "Use tools."
    assert [turn["role"] for turn in rows[1]["messages"]] == ["user", "function", "tool", "assistant"]
    assert json.loads(rows[1]["messages"][1]["content"])[1] == {"name": "area", "arguments": {"side": 2}}
    assert rows[1]["messages"][2]["content"].split("\n") == ["15", "</tool_response>", "<tool_response>", "4"]
    assert rows[1]["messages"][3]["content"] == "<think>\nThe tool said so.\n</think>\n\n15 and 4"
    assert json.loads(rows[1]["tools"]) == [TOOLS[0]["function"]]
    (note,) = notes
    assert "1 of 3 rows are left out" in note
    assert "(first: c)" in note


def test_axolotl_marks_the_turn_to_learn(tmp_path):
    import yaml

    assert formats.axolotl(EXAMPLES, tmp_path) == []
    rows = read_jsonl(tmp_path / "train.jsonl")
    assert [[turn["train"] for turn in row["messages"]] for row in rows] == [
        [False, True],
        [False, False, False, False, False, True],
        [False, False, False, False, True],
    ]
    assert rows[1]["tools"] == TOOLS
    (entry,) = yaml.safe_load((tmp_path / "axolotl.yml").read_text())["datasets"]
    assert (entry["field_messages"], entry["message_field_training"]) == ("messages", "train")


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    rows = [{"prompt": f"Fact {i}?", "completion": f"Water {i} is wet."} for i in range(30)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_run_exports_what_it_selected_and_a_repeated_run_again(compose, path, tmp_path):
    import datasets

    given = [
        "+experiment=own_data",
        f"data.path={path}",
        f"paths.root={tmp_path}",
        "budget=5",
        "embedder.min_count=1",
        "data.license=cc-by-4.0",
    ]
    plain = pipeline.run(parse(compose(*given)), Console())
    assert not (plain.folder / "export").exists()
    made = pipeline.run(parse(compose(*given, "export=[hf,trl,llamafactory,axolotl]")), Console())
    assert made.folder == plain.folder
    assert sorted(place.name for place in (made.folder / "export").iterdir()) == [
        "axolotl",
        "hf",
        "llamafactory",
        "trl",
    ]
    ids = [row["id"] for row in read_jsonl(made.folder / "selected.jsonl")]
    hub = made.folder / "export" / "hf"
    assert datasets.load_dataset(str(hub), split="train", cache_dir=str(tmp_path / "c"))["id"][:] == ids
    head, card = (hub / "README.md").read_text().split("\n---\n", 1)
    assert "license: cc-by-4.0" in head
    assert "5 of 30 rows chosen by mp_ma_sc" in card
    assert "coverage" in card


def test_an_unknown_format_is_an_error_that_lists_them(compose, path):
    from gip_exp.errors import UserError

    with pytest.raises(UserError, match=r"export.*'hf', 'trl', 'llamafactory' or 'axolotl'"):
        parse(compose("+experiment=own_data", f"data.path={path}", "export=[hf,xyz]"))
