"""Hydra's and OmegaConf's complaints in words that lead to the argument that is wrong."""

import pytest
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gip_exp.cli.hydra_errors import explained


def said(values, arguments):
    with pytest.raises(OmegaConfBaseException) as caught:
        OmegaConf.to_container(OmegaConf.create(values), resolve=True, throw_on_missing=True)
    return explained(caught.value, arguments)


def test_a_reference_is_reported_where_it_was_written_not_where_it_was_first_needed():
    judge = {"judge": {"name": "${.model}", "model": "${budgte}"}}
    message = said(judge, ["judge=openai", "++judge.model=${budgte}"])
    assert message.startswith("judge.model refers to ${budgte}, but there is no such key")
    assert message.endswith("did you mean budget?")


def test_a_reference_that_no_argument_holds_is_reported_where_it_was_needed():
    message = said({"judge": {"model": "${no.such.key}"}}, ["seed=1"])
    assert message == "judge.model refers to ${no.such.key}, but there is no such key: check its spelling"


def test_a_value_that_is_still_to_be_given_is_named():
    assert "path" in said({"data": {"path": "???"}}, ["+experiment=own_data"])
