"""Tokenizers for tiny models: word level (arithmetic world) and byte-level BPE (any text).

Both add no special token by themselves, pad on the left (what batched generation needs; trainers and lm-eval
pad by their own rules), and are ordinary `PreTrainedTokenizerFast`: save_pretrained, AutoTokenizer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

PAD, EOS, UNKNOWN = "<pad>", "<eos>", "<unk>"  # ids 0, 1, 2
LARGEST_NUMBER = 100  # whole numbers up to this are in every word-level vocabulary

# A word carries the blank before it; a word or sign before a blank and a number carries that blank too, so
# that a number is the same token wherever it stands, and decoding is plain concatenation.
PIECE = (
    r"<<|>>"
    r"|####(?: (?=\d))?"
    r"| ?[A-Za-z]+(?: (?=\d))?"
    r"|\d+"
    r"|[^A-Za-z0-9\s](?: (?=\d))?"
    r"|\s"
)


def word_level(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """One token a word, sign or whole number. Lossless on text made of words that occur in `texts`.

    A word not in `texts` becomes <unk>: fit on text that holds the whole vocabulary (corpus and pool).
    """
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    vocabulary = {token: i for i, token in enumerate((PAD, EOS, UNKNOWN))}
    for number in range(LARGEST_NUMBER + 1):
        vocabulary.setdefault(str(number), len(vocabulary))
    pieces = {piece for text in texts for piece in re.findall(PIECE, text)}
    for piece in sorted(pieces):  # sorted: the vocabulary does not depend on the order of the texts
        vocabulary.setdefault(piece, len(vocabulary))
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(PIECE), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return _wrap(tokenizer, unk_token=UNKNOWN)


def byte_level(texts: Iterable[str], vocab_size: int = 2048) -> PreTrainedTokenizerFast:
    """Byte-level BPE fitted on `texts`; lossless on any text. vocab_size: at least 256 bytes + 2 specials."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    smallest = 256 + 2
    if vocab_size < smallest:
        raise ValueError(f"vocab_size is {vocab_size}; byte-level BPE needs at least {smallest}")
    tokenizer = Tokenizer(models.BPE())
    split_digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [split_digits, pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return _wrap(tokenizer)


def _wrap(tokenizer: Tokenizer, **special: str) -> PreTrainedTokenizerFast:
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=EOS,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        model_input_names=["input_ids", "attention_mask"],
        **special,
    )
