"""One function per format: the selected examples as files in a folder, from the same turns as the project's training.

Only the last reply is to be learned, as in the project's own training; each format says so in its own way.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gip_exp.storage.files import write_json, write_jsonl, write_text

Example = Mapping[str, Any]
SOURCE = ("id", "rank", "gain", "source", "row")  # columns that are kept beside the turns
OBSERVATIONS = "\n</tool_response>\n<tool_response>\n"  # as LLaMA-Factory joins several results of tools


def turns_of(example: Example) -> list[dict[str, Any]]:
    """Return the turns of an example; those of a question and a plain answer are two."""
    if "turns" in example:
        return [dict(turn) for turn in example["turns"]]
    return [
        {"role": "user", "content": example["prompt"]},
        {"role": "assistant", "content": example["completion"]},
    ]


def hf(examples: Sequence[Example], folder: Path) -> list[str]:
    """Write a parquet file for `datasets.load_dataset(FOLDER)`: `messages`, `tools`, and where each row comes from."""
    rows = [{"messages": turns_of(one), "tools": one.get("tools"), **_source(one)} for one in examples]
    _parquet(rows, ("messages", "tools"), folder / "data" / "train-00000-of-00001.parquet")
    return []


def trl(examples: Sequence[Example], folder: Path) -> list[str]:
    """Write a parquet file for TRL's `SFTTrainer`: `prompt` and `completion` as turns, so that it learns the last."""
    rows = [
        {"prompt": turns_of(one)[:-1], "completion": turns_of(one)[-1:], "tools": one.get("tools")}
        for one in examples
    ]
    if not any(row["tools"] for row in rows):
        rows = [{name: row[name] for name in ("prompt", "completion")} for row in rows]
    _parquet(rows, ("prompt", "completion", "tools"), folder / "train.parquet")
    return []


def llamafactory(examples: Sequence[Example], folder: Path) -> list[str]:
    """Write `gip.json` and its entry in `dataset_info.json` for LLaMA-Factory (`dataset: gip`, `mask_history: true`).

    Its conversations alternate between the user (or results of tools) and the assistant, so results in a row become
    one; rows that cannot be brought into this form are left out, because LLaMA-Factory would skip them without saying
    which.
    """
    rows, skipped, calls_with_text = [], [], 0
    for one in examples:
        row, with_text = _sharegpt(one)
        calls_with_text += with_text
        if _alternates(row["messages"]):
            rows.append(row)
        else:
            skipped.append(str(one["id"]))
    write_json(folder / "gip.json", rows)
    tags = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}
    tags |= {"observation_tag": "tool", "function_tag": "function", "system_tag": "system"}
    columns = {"messages": "messages", "system": "system", "tools": "tools"}
    entry = {"file_name": "gip.json", "formatting": "sharegpt", "columns": columns, "tags": tags}
    write_json(folder / "dataset_info.json", {"gip": entry})
    notes = []
    if skipped:
        notes.append(
            f"export=llamafactory: {len(skipped):,} of {len(examples):,} rows are left out, because their turns do not "
            f"alternate between user and assistant after the system message (first: {skipped[0]})"
        )
    if calls_with_text:
        notes.append(
            f"export=llamafactory: {calls_with_text:,} turns have a text beside their tool calls, which is left out: the "
            "format has one or the other"
        )
    return notes


def axolotl(examples: Sequence[Example], folder: Path) -> list[str]:
    """Write `train.jsonl` and `axolotl.yml`, the part of a config that names it; `train` marks the turn to learn."""
    rows = []
    for one in examples:
        turns = turns_of(one)
        marked = [{**turn, "train": turn is turns[-1]} for turn in turns]
        rows.append({"messages": marked, **({"tools": one["tools"]} if one.get("tools") else {})})
    write_jsonl(folder / "train.jsonl", rows)
    write_text(folder / "axolotl.yml", AXOLOTL)
    return []


AXOLOTL = """\
# Put this into your config; the path is relative to the folder that axolotl is started in.
datasets:
  - path: train.jsonl
    ds_type: json
    type: chat_template
    field_messages: messages
    message_property_mappings:
      role: role
      content: content
    message_field_training: train
    roles_to_train: []
    train_on_eos: turn
"""

FORMATS: Mapping[str, Callable[[Sequence[Example], Path], list[str]]] = {
    "hf": hf,
    "trl": trl,
    "llamafactory": llamafactory,
    "axolotl": axolotl,
}


def _source(example: Example) -> dict[str, Any]:
    return {name: example[name] for name in SOURCE if name in example}


def _parquet(rows: list[dict[str, Any]], json_columns: Sequence[str], path: Path) -> None:
    """Write rows with columns of any JSON, which tool calls need: their arguments differ from row to row."""
    import datasets

    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(rows[0])
    kinds: dict[str, Any] = {name: datasets.Json() for name in names if name in json_columns}
    for name in names:
        if name not in kinds:
            values = [row[name] for row in rows]
            kind = (
                "string"
                if isinstance(values[0], str)
                else "int64"
                if isinstance(values[0], int)
                else "float64"
            )
            kinds[name] = datasets.Value(kind)
    columns = {name: [row[name] for row in rows] for name in names}
    datasets.Dataset.from_dict(columns, features=datasets.Features(kinds)).to_parquet(str(path))


def _sharegpt(example: Example) -> tuple[dict[str, Any], int]:
    """Return (row, number of turns whose text beside tool calls is left out)."""
    turns, with_text = turns_of(example), 0
    system = turns.pop(0)["content"] if turns[0]["role"] == "system" else ""
    messages: list[dict[str, str]] = []
    for turn in turns:
        if turn.get("tool_calls"):
            with_text += bool(turn["content"])
            called = [call["function"] for call in turn["tool_calls"]]
            messages.append({"role": "function", "content": json.dumps(called, ensure_ascii=False)})
        elif turn["role"] == "tool" and messages and messages[-1]["role"] == "tool":
            messages[-1]["content"] += OBSERVATIONS + turn["content"]
        else:
            thought = turn.get("reasoning_content")
            text = f"<think>\n{thought}\n</think>\n\n{turn['content']}" if thought else turn["content"]
            messages.append({"role": turn["role"], "content": text})
    tools = [tool.get("function", tool) for tool in example.get("tools", ())]
    text = json.dumps(tools, ensure_ascii=False) if tools else ""
    return {"messages": messages, "system": system, "tools": text}, with_text


def _alternates(messages: Sequence[Mapping[str, str]]) -> bool:
    """Return whether asking and replying turns alternate and the last is a reply."""
    asking, replying = {"user", "tool"}, {"assistant", "function"}
    return len(messages) % 2 == 0 and all(
        message["role"] in (replying if at % 2 else asking) for at, message in enumerate(messages)
    )
