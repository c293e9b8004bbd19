from __future__ import annotations

import pytest
import torch

from trainer.text.chunks import chunk_count, chunked, common_length

START, END, PADDING = 1001, 1002, 0


@pytest.mark.parametrize(
    ("tokens", "most", "expected"),
    [(0, 75, 1), (1, 75, 1), (75, 75, 1), (76, 75, 1), (76, 150, 2), (150, 225, 2), (151, 225, 3), (999, 225, 3)],
)
def test_a_caption_has_as_many_chunks_as_it_needs(tokens: int, most: int, expected: int) -> None:
    assert chunk_count(tokens, most) == expected
    chunks = chunked(range(10, 10 + tokens), most, start=START, end=END, padding=PADDING)
    assert len(chunks) == expected
    assert all(len(chunk) == 77 for chunk in chunks)


def test_each_chunk_is_framed_and_padded_by_itself() -> None:
    first, second = chunked(range(10, 90), 225, start=START, end=END, padding=PADDING)
    assert first == [START, *range(10, 85), END]
    assert second == [START, *range(85, 90), END, *[PADDING] * 70]


def test_what_is_past_the_limit_is_cut_off() -> None:
    assert chunked(range(10, 300), 75, start=START, end=END, padding=PADDING) == [[START, *range(10, 85), END]]


def test_more_chunks_than_needed_are_empty_captions() -> None:
    chunks = chunked([7], 225, start=START, end=END, padding=PADDING, count=2)
    assert chunks == [[START, 7, END, *[PADDING] * 74], [START, END, *[PADDING] * 75]]


@pytest.mark.parametrize(("lengths", "expected"), [([1, 1], 1), ([1, 3], 3), ([2, 3, 1], 6)])
def test_texts_of_several_lengths_meet_at_a_common_one(lengths: list[int], expected: int) -> None:
    assert common_length(lengths) == expected


def test_attention_over_a_repeated_text_is_attention_over_the_text() -> None:
    query, text = torch.randn(1, 5, 8), torch.randn(1, 77, 8)
    once = torch.nn.functional.scaled_dot_product_attention(query, text, text)
    six = text.repeat(1, 6, 1)
    torch.testing.assert_close(torch.nn.functional.scaled_dot_product_attention(query, six, six), once)
