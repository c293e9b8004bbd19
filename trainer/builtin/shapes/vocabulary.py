"""The tokenizer of `builtin://shapes`: CLIP's kind of byte-pair encoding, with one token for each word that the base knows.

Any other word, an activation tag for one, falls into the characters that it is spelled with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

from trainer.builtin.shapes import draw

START, END, WORD_END = "<|startoftext|>", "<|endoftext|>", "</w>"

Pair = tuple[str, str]


def learn_merges(words: Sequence[str]) -> list[Pair]:
    """Byte-pair merges (Sennrich et al., arXiv 1508.07909, algorithm 1) until every word is one token.

    The most frequent pair goes first, of equals the first in the alphabet. (The learner of the package tokenizers leaves the
    order of equals to chance, and with it the ids.)
    """
    spelled = {word: [*word[:-1], word[-1] + WORD_END] for word in words}
    merges: list[Pair] = []
    while pairs := Counter(pair for parts in spelled.values() for pair in pairwise(parts)):
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        spelled = {word: _merged(parts, best) for word, parts in spelled.items()}
    return merges


def _merged(parts: list[str], pair: Pair) -> list[str]:
    out: list[str] = []
    for part in parts:
        if out and (out[-1], part) == pair:
            out[-1] += part
        else:
            out.append(part)
    return out


def make_tokenizer(shapes: Sequence[str]) -> CLIPTokenizer:
    """A CLIP tokenizer, 77 tokens long, that knows the words of captions of `shapes`."""
    words = ["a", "an", "on", "background", "striped", "small", "big", *draw.COLORS, *draw.BACKGROUNDS, *shapes]
    characters = sorted(ByteLevel.alphabet())
    merges = learn_merges(words)
    joined = ["".join(pair) for pair in merges]
    vocabulary = [*characters, *(f"{character}{WORD_END}" for character in characters), *joined, START, END]
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
