"""The tokenizer of `builtin://shapes`: CLIP's kind of byte-pair encoding, with one token for each word that the base knows.

Any other word, an activation tag for one, falls into the characters that it is spelled with.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from tokenizers import Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer
from transformers import CLIPTokenizer

from trainer.builtin.shapes import draw

START, END = "<|startoftext|>", "<|endoftext|>"


def make_tokenizer(shapes: Sequence[str]) -> CLIPTokenizer:
    """A CLIP tokenizer, 77 tokens long, that knows the words of captions of `shapes`."""
    words = ["a", "an", "on", "background", "striped", "small", "big", *draw.COLORS, *draw.BACKGROUNDS, *shapes]
    characters = sorted(ByteLevel.alphabet())
    learner = Tokenizer(BPE(end_of_word_suffix="</w>"))
    learner.train_from_iterator(
        words,
        BpeTrainer(
            vocab_size=100_000,  # no limit: merge until every word is one token
            min_frequency=1,
            end_of_word_suffix="</w>",
            initial_alphabet=characters,
            show_progress=False,
        ),
    )
    merges = [tuple(pair) for pair in json.loads(learner.to_str())["model"]["merges"]]
    vocabulary = [
        *characters,
        *(f"{character}</w>" for character in characters),
        *("".join(pair) for pair in merges),
        START,
        END,
    ]
    tokenizer = CLIPTokenizer(
        vocab={token: number for number, token in enumerate(dict.fromkeys(vocabulary))},
        merges=merges,
        model_max_length=77,
        unk_token=END,
        bos_token=START,
        eos_token=END,
        pad_token=END,
    )
    broken = [word for word in words if len(tokenizer(word).input_ids) != 3]
    assert not broken, f"words without a token of their own: {broken}"
    return tokenizer
