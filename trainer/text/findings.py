"""What is odd about a job's captions as text, counted and named for the report. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from trainer.data.findings import Kind, sentence_of
from trainer.text.chunks import LARGEST
from trainer.text.weights import has_escapes, has_weights

_WEIGHTED = Kind(
    "caption has weights of words, which are not interpreted but read as text",
    "captions have weights of words, which are not interpreted but read as text",
    "Take (word:1.2), ((word)) and [word] out of them.",
)
_ESCAPED = Kind(
    "caption has brackets behind a backslash, which is read as text",
    "captions have brackets behind a backslash, which is read as text",
    "Write them without it.",
)


def text_warnings(captions: Iterable[str], most: int, count_tokens: Callable[[str], int]) -> list[str]:
    """Captions that are cut off after `most` tokens, and captions with weights or escapes, a sentence for each kind.

    `count_tokens` gives the largest number of tokens that any text encoder makes of a caption, without start and end.
    """
    ordered = sorted(set(captions))
    found = [
        (_cut(most), [caption for caption in ordered if count_tokens(caption) > most]),
        (_WEIGHTED, [caption for caption in ordered if has_weights(caption)]),
        (_ESCAPED, [caption for caption in ordered if has_escapes(caption)]),
    ]
    return [sentence_of(kind, names) for kind, names in found if names]


def _cut(most: int) -> Kind:
    advice = "Shorten them." if most >= LARGEST else f"Shorten them, or raise text.max_tokens, up to {LARGEST}."
    return Kind(
        f"caption is longer than {most} tokens and is cut",
        f"captions are longer than {most} tokens and are cut",
        advice,
    )
