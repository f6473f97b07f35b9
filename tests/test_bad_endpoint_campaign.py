"""A judge's endpoint that misbehaves: a sample of `python tests/bad_endpoint_campaign.py`, without the command around it."""

import random

import pytest
from bad_endpoint_campaign import KEY, ROWS, Account, endpoint
from bad_endpoint_cases import CASES, SLOW
from bad_endpoint_server import grades
from conftest import ROOT
from omegaconf import OmegaConf

from gip_exp.llm.errors import LLMError
from gip_exp.llm.judge import judge_pool
from gip_exp.llm.judge_table import JudgeSettings
from gip_exp.llm.rubric import Rubric
from gip_exp.llm.settings import EndpointSettings

QUICK = sorted(name for name in CASES if not any(word in name for word in SLOW))
ONCE_WRONG = (
    "later-a-limit-of-a-day",
    "later-moved--307",
    "then-well-a-status-of-four-digits",
)  # a hang, no reason, a traceback
SAMPLE = dict.fromkeys([*ONCE_WRONG, *random.Random(0).sample(QUICK, 22)])
POOL = [
    {"id": f"r{row}", "prompt": f"What is the number of row R{row:04d}?", "completion": "c"}
    for row in range(ROWS)
]


@pytest.fixture(scope="module")
def port():
    with endpoint() as at:
        yield at


@pytest.mark.parametrize("name", SAMPLE)
def test_a_misbehaviour_is_overcome_counted_or_refused(name, port, tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    case, rubric = CASES[name], OmegaConf.load(ROOT / "conf" / "rubric" / "instruction.yaml")
    address = f"http://127.0.0.1:{port}/{name}/v1"
    where = EndpointSettings("judge", base_url=address, concurrency=4, backoff_s=0.01, backoff_max_s=0.02)
    settings = JudgeSettings(where, max_unscored=1.0 if case.end == "missing" else 0.01)

    def judged():
        return judge_pool(
            POOL, Rubric.from_mapping(OmegaConf.to_container(rubric)), settings, cache_dir=tmp_path
        )

    if case.end == "refused":
        with pytest.raises(LLMError) as error:
            judged()
        assert all(text in str(error.value) for text in case.says)
        assert KEY not in str(error.value)
    else:
        table = judged()
        missing = {row for row in range(ROWS) if case.end == "missing" and row % 3 == 0}
        assert {int(one.id[1:]) for one in table.unscored} == missing
        assert all(text in one.reason for one in table.unscored for text in case.says)
        for row in set(range(ROWS)) - missing:
            assert dict(zip(table.attributes, table.scores[row], strict=True)) == grades(row)
    assert not Account(port, name).elsewhere
    assert not any(KEY.encode() in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
