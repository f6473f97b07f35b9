"""Judges of the usual providers by name: address, key, price, end."""

import datetime
import re
from pathlib import Path

import pytest

from gip_exp.config import parse
from gip_exp.llm.prices import find_price
from gip_exp.llm.transport import openai_client
from gip_exp.signals import judge_endpoint, judge_requirements, lifetime

CONF = Path(__file__).resolve().parent.parent / "conf" / "judge"
HOSTED = ("anthropic", "gemini", "mistral", "deepseek", "together", "openrouter")
UNPRICED = ("together", "openrouter")  # no price that holds for everyone is published


@pytest.fixture
def judge(compose):
    def made(name, *overrides):
        return parse(compose("+experiment=quickstart", f"judge={name}", *overrides)).judge

    return made


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch):
    for name in HOSTED:
        monkeypatch.delenv(f"{name.upper()}_API_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", "key-of-openai")
    monkeypatch.setattr("gip_exp.models.hub.no_answer", lambda _: "")


@pytest.mark.parametrize("name", HOSTED)
def test_a_provider_gets_its_own_key_and_never_openai_s(judge, monkeypatch, name):
    config, variable = judge(name), f"{name.upper()}_API_KEY"
    assert judge_requirements.missing_judge(config) == [
        f"judge: {config.model} needs {variable}: export it, or give judge.base_url (a local server needs no key), or use "
        "judge=rules"
    ]
    monkeypatch.setenv(variable, f"key-of-{name}")
    assert judge_requirements.missing_judge(config) == []
    where = judge_endpoint.endpoint_of(config)
    client = openai_client(judge_endpoint.endpoint_settings(config, where))
    assert (client.api_key, str(client.base_url).rstrip("/")) == (
        f"key-of-{name}",
        config.base_url.rstrip("/"),
    )


@pytest.mark.parametrize("name", HOSTED)
def test_a_provider_s_model_has_a_price_with_its_source_or_none_at_all(judge, name):
    config = judge(name)
    where = judge_endpoint.endpoint_of(config)
    price = find_price(judge_endpoint.endpoint_settings(config, where).prices, config.model)
    text = (CONF / f"{name}.yaml").read_text()
    assert (price is None) == (name in UNPRICED)
    assert ("prices:" in text) == (name not in UNPRICED)
    if price is not None:
        assert 0 < price.input < price.output
        assert re.search(r"prices: #.*|\} # .*found 20\d\d-\d\d-\d\d", text)
        assert re.search(r"found 20\d\d-\d\d-\d\d", text)


@pytest.mark.parametrize(
    ("name", "model", "instead"),
    [
        ("gemini", "gemini-2.5-flash", "gemini-3.5-flash"),
        ("deepseek", "deepseek-chat", "deepseek-v4-flash"),
        ("anthropic", "claude-sonnet-4-20250514", "claude-sonnet-4-6"),
    ],
)
def test_a_provider_s_model_ends_like_openai_s(judge, monkeypatch, name, model, instead):
    monkeypatch.setattr(lifetime, "today", lambda: datetime.date(2026, 11, 27))
    (problem,) = lifetime.ended(judge(name, f"judge.model={model}"), "judge")
    assert f"for instance {instead}" in problem
    assert not lifetime.ended(judge(name), "judge")


def test_a_name_that_fixes_no_weights_is_noted(judge):
    for name, noted in (("deepseek", True), ("gemini", True), ("anthropic", False), ("mistral", False)):
        config = judge(name)
        assert bool(lifetime.notes(config, "judge", [config.model])) == noted
    local = judge("openai", "judge.base_url=http://127.0.0.1:9/v1", "judge.model=mine")
    assert not lifetime.notes(local, "judge", ["mine"])


def test_the_variable_of_the_key_is_no_part_of_a_judge_s_identity(judge):
    one, other = (judge("openai", f"judge.key_variable={name}") for name in ("A_KEY", "B_KEY"))
    assert judge_endpoint.identity(one) == judge_endpoint.identity(other)
