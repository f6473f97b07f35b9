"""Losses of completions: equal to the model's own loss, whatever the batch; rows without a loss."""

import json

import numpy as np
import pytest
import torch

from gip_exp import pipeline
from gip_exp.models.completion_losses import loss_encoder
from gip_exp.models.loading import load_base, load_tokenizer
from tests.test_gip_exp_pipeline import quiet

PAIRS = [
    ("What is 2 + 3?", "2 + 3 = 5"),
    ("Add 4, 5 and 6.", "4 + 5 = 9 and 9 + 6 = 15"),
    ("Say 7", "7 and 7"),
]


@pytest.fixture(scope="module")
def base(micro, shared_root):
    """Folder of the shrunken quickstart's base model."""
    return str(pipeline.run(micro(shared_root, "until=base"), quiet()).entries["base"].folder)


def losses(base, pairs, **options):
    options = {"max_length": 256, "dtype": "float32", "batch_size": 8, "device": "cpu"} | options
    return loss_encoder(base, **options)([json.dumps(pair) for pair in pairs])


def test_they_are_the_models_own_loss_of_the_tokens_after_the_first(base):
    tokenizer, model = load_tokenizer(base), load_base(base, "float32").eval()
    for pair, found in zip(PAIRS, losses(base, PAIRS), strict=True):
        prompt, completion = (tokenizer(text)["input_ids"] for text in (pair[0] + "\n", pair[1]))
        for ids, start, loss in ((prompt + completion, len(prompt), found[0]), (completion, 0, found[1])):
            labels = torch.tensor([[-100] * (start + 1) + ids[start + 1 :]])
            with torch.inference_mode():
                expected = model(input_ids=torch.tensor([ids]), labels=labels).loss.item()
            assert loss == pytest.approx(expected, rel=1e-4)


def test_batches_change_nothing_and_rows_without_a_loss_are_nan(base):
    one = np.concatenate([losses(base, [pair]) for pair in PAIRS])
    np.testing.assert_allclose(losses(base, PAIRS), one, rtol=1e-4)
    short = losses(base, [*PAIRS, ("Say nothing", ""), ("Say one", "7")])
    np.testing.assert_allclose(short[:3], one, rtol=1e-4)
    assert np.isnan(short[3:]).all()
    assert np.isnan(losses(base, PAIRS, max_length=2)).all()
