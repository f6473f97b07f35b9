"""What people do wrong ends in a message that says what to do: a part of `python tests/bad_input_campaign.py`."""

import os
import subprocess
import sys

import pytest
from bad_input_cases import CALLS, CASES
from bad_input_generated import generated
from conftest import ROOT

SAMPLE = 30  # of the hand-picked and of the generated commands each; a command takes a quarter of a second


def test_bad_commands_end_in_a_message_with_exit_code_2_and_leave_nothing():
    command = [sys.executable, str(ROOT / "tests" / "bad_input_campaign.py"), "--sample", str(SAMPLE)]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ), timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{2 * SAMPLE} commands" in done.stdout


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.cause}: {', '.join(call.arguments)}")
def test_a_bad_call_of_gip_select_names_the_argument(call):
    assert not call.fault()


def test_the_campaign_is_as_large_as_the_readme_says():
    cases = [*CASES, *generated()]
    assert len(cases) + len(CALLS) >= 200
    assert len({case.cause for case in [*cases, *CALLS]}) >= 40
