"""Both generators return one text per input, in order, and say so when they cannot."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gip_exp.llm.errors import LLMError
from gip_exp.llm.generate import EndpointGenerator, LocalGenerator
from gip_exp.llm.progress import describe, shown_on
from gip_exp.llm.request import Stats
from gip_exp.llm.settings import EndpointSettings
from gip_exp.progress import Bar
from tests.fault_server import FaultServer
from tests.tiny_qwen3 import make_model


@pytest.fixture(scope="module")
def server() -> Iterator[FaultServer]:
    with FaultServer() as running:
        yield running


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = make_model(tmp_path_factory.mktemp("tiny"))
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(folder)


INPUTS = ["one", "a longer text to go on from", [{"role": "user", "content": "hello"}], "x"]


def test_batching_changes_no_greedy_text(tiny: tuple[Any, Any]) -> None:
    alone = LocalGenerator(*tiny, batch_size=1).generate(INPUTS, temperature=0, max_tokens=8)
    together = LocalGenerator(*tiny, batch_size=4).generate(INPUTS, temperature=0, max_tokens=8)
    assert alone == together
    assert len(set(alone)) > 1


def test_a_text_starts_as_the_tokenizer_starts_texts_and_never_ends_before_it_is_continued(
    tiny: tuple[Any, Any],
) -> None:
    import copy

    from tokenizers.processors import TemplateProcessing

    model, tokenizer = tiny
    plain = LocalGenerator(model, tokenizer)._tokens("hello")
    framed = copy.deepcopy(tokenizer)
    marks = [
        ("<|im_start|>", tokenizer.convert_tokens_to_ids("<|im_start|>")),
        ("<|im_end|>", tokenizer.eos_token_id),
    ]
    framed.backend_tokenizer.post_processor = TemplateProcessing("<|im_start|> $A <|im_end|>", None, marks)
    assert LocalGenerator(model, framed)._tokens("hello") == [marks[0][1], *plain]
    turn = [{"role": "user", "content": "hello"}]
    assert LocalGenerator(model, framed)._tokens(turn) == LocalGenerator(model, tokenizer)._tokens(turn)


def test_samples_differ_repeat_and_leave_the_callers_random_state(tiny: tuple[Any, Any]) -> None:
    import torch

    generator = LocalGenerator(*tiny, seed=0)
    before = torch.random.get_rng_state()
    drawn = [generator.generate(INPUTS, temperature=1.0, max_tokens=8, sample=s) for s in (0, 1, 0)]
    assert drawn[0] == drawn[2] != drawn[1]
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_conversation_needs_a_chat_template(tiny: tuple[Any, Any]) -> None:
    import copy

    tokenizer = copy.deepcopy(tiny[1])
    tokenizer.chat_template = None
    with pytest.raises(LLMError, match=r"no chat template.*plain texts"):
        LocalGenerator(tiny[0], tokenizer).generate(INPUTS, temperature=0, max_tokens=2)


def test_endpoint_samples_are_separate_and_kept(server: FaultServer, tmp_path: Path) -> None:
    server.restart()
    generator = EndpointGenerator(EndpointSettings("judge", base_url=server.url), cache_dir=tmp_path, seed=0)
    for sample in (0, 1, 0):
        assert (
            generator.generate(["a", "b"], temperature=1.0, max_tokens=4, sample=sample) == [" continued"] * 2
        )
    assert server.account()["requests"] == 4


def test_a_text_that_does_not_come_is_an_error_and_the_others_are_kept(
    server: FaultServer, tmp_path: Path
) -> None:
    server.restart(status=400, message="too long")
    generator = EndpointGenerator(EndpointSettings("judge", base_url=server.url), cache_dir=tmp_path)
    with pytest.raises(LLMError, match=r"2 of 2 requests to judge failed, the first is input 0: http 400"):
        generator.generate(["a", "b"], temperature=0, max_tokens=4)


def test_bad_sampling_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    generator = EndpointGenerator(
        EndpointSettings("judge", base_url="http://127.0.0.1:1/v1"), cache_dir=tmp_path
    )
    with pytest.raises(LLMError, match="temperature is -1; allowed: 0 to 2, or null; max_tokens is 0"):
        generator.generate(["a"], temperature=-1, max_tokens=0)


def test_progress_shows_rate_tokens_money_and_failures() -> None:
    stats = Stats(
        replies=50, cached=3, prompt_tokens=1000, completion_tokens=200, spent_usd=0.5, unreadable=2
    )
    stats.faults["timeout"] = 4
    line = "10.0 replies/s, 3 cached, 1,000 + 200 tokens, 0.5000 USD, 4 faults, 2 unreadable"
    assert describe(stats, 5.0) == line


def test_progress_is_told_on_the_bar_of_the_caller(server: FaultServer, tmp_path: Path) -> None:
    server.restart()
    bar = Bar("asking", None, time.monotonic)
    generator = EndpointGenerator(
        EndpointSettings("judge", base_url=server.url), cache_dir=tmp_path, progress=shown_on(bar)
    )
    generator.generate(["a", "b", "c"], temperature=0, max_tokens=4)
    assert (bar.done, bar.total) == (3, 3)
    assert "replies/s" in bar.note


def test_a_local_generator_tells_after_every_batch(tiny: tuple[Any, Any]) -> None:
    rows: list[int] = []
    generator = LocalGenerator(*tiny, batch_size=2, on_rows=rows.append)
    generator.generate(["a", "b", "c"], temperature=0, max_tokens=1)
    assert rows == [2, 1]
