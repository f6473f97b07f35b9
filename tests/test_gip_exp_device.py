"""The device has one owner: whoever enters finds it free, and only what has the same name finds itself again."""

import pytest

from gip_exp import device


@pytest.fixture(autouse=True)
def free():
    device.free()
    yield
    device.free()


def occupy(name, left, *, keep=True):
    with device.reserved_for(name, (lambda: left.append(name)) if keep else None):
        return list(left)


def test_what_is_kept_leaves_before_somebody_else_enters():
    left = []
    assert occupy("server", left) == []
    assert occupy("model", left) == ["server"]
    assert occupy("training", left, keep=False) == ["server", "model"]
    assert occupy("training", left, keep=False) == ["server", "model"]


def test_what_has_the_same_name_stays():
    left = []
    occupy("server", left)
    assert occupy("server", left) == []


def test_a_stage_that_keeps_a_model_itself():
    """Sampling: the stage has the device, and inside it the model stays for whoever evaluates next."""
    left = []
    with device.reserved_for("stage"):
        occupy("model", left)
    assert occupy("model", left) == []


def test_a_block_that_fails_leaves_what_it_kept_to_the_next_one():
    left = []
    with pytest.raises(OSError, match="died"), device.reserved_for("server", lambda: left.append("server")):
        raise OSError("died")
    assert occupy("model", left) == ["server"]
