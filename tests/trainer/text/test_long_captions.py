"""Captions of up to 225 tokens, on random bases of each family: what the UNet is told is each chunk by itself, end to end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from store import open_store
from tests.trainer.tiny_base import make_tiny_base
from tests.trainer.tiny_families import make_tiny_sd2, make_tiny_sdxl
from trainer.cache import Cache
from trainer.config import PreviewConfig, PreviewPrompt
from trainer.embeddings import Words
from trainer.families.base import Base, BaseOptions, Framing
from trainer.families.registry import load_base
from trainer.previews import draw_previews

SHORT, LONG, LONGEST = "a red star", "a blue star " * 30, "heart, " * 120
CPU = torch.device("cpu")
MAKERS = {"sd15": make_tiny_base, "sd2": make_tiny_sd2, "sdxl": make_tiny_sdxl}


@pytest.fixture(scope="module", params=MAKERS)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Base:
    folder = tmp_path_factory.mktemp(request.param)
    MAKERS[request.param](folder)
    return load_base(request.param, folder, CPU, torch.float32, BaseOptions(max_tokens=225))


@torch.no_grad()
def test_each_chunk_is_read_as_a_caption_of_its_own(base: Base) -> None:
    for encoder in base.text_encoders:
        ids = encoder.token_ids(LONG)
        assert 75 < len(ids) <= 150
        parts = [encoder.tokenizer.decode(ids[:75]), encoder.tokenizer.decode(ids[75:])]
        whole = encoder.encode([LONG])
        separate = [encoder.encode([part]) for part in parts]
        assert whole.chunks == (2,)
        torch.testing.assert_close(whole.words, torch.cat([part.words for part in separate], dim=1))
        if whole.pooled is not None:
            torch.testing.assert_close(whole.pooled, separate[0].pooled)


def test_a_short_caption_has_the_tokens_that_the_tokenizer_pads(base: Base) -> None:
    for encoder in base.text_encoders:
        encoder.most, most = 75, encoder.most
        for caption in ("", SHORT, "Lumi's (x:1.2), ünï 日本 🎈", LONG):
            own = encoder.tokenizer(caption, padding="max_length", max_length=77, truncation=True).input_ids
            assert encoder._chunks(caption) == [own], caption
        encoder.most = most


@torch.no_grad()
def test_captions_of_several_lengths_do_not_disturb_each_other(base: Base) -> None:
    captions = [SHORT, LONG, LONGEST]
    noisy, timesteps = torch.randn(3, 4, 8, 8), torch.tensor([10, 400, 900])
    framings = [Framing((64, 64), (0, 0), (64, 64))] * 3
    together = base.predict(noisy, timesteps, base.framed(base.encode_captions(captions), framings))
    for place, caption in enumerate(captions):
        one = slice(place, place + 1)
        alone = base.predict(noisy[one], timesteps[one], base.framed(base.encode_captions([caption]), framings[:1]))
        torch.testing.assert_close(together[one], alone, rtol=1e-4, atol=1e-5)


def test_embeddings_are_kept_at_their_own_length(base: Base, tmp_path: Path) -> None:
    def words() -> Words:
        return Words(
            base,
            Cache(open_store(f"file://{tmp_path}/")),
            digests={encoder.name: "e" for encoder in base.text_encoders},
            fingerprint="f",
            trained=(),
        )

    first = words()
    first.prepare([SHORT, LONG, LONGEST], [], lambda _done, _total: None)
    for given in (first, words()):
        assert given.of([SHORT]).words.shape[1] == 77
        assert given.of([SHORT, LONG]).words.shape[1] == 2 * 77
        mixed = given.of([LONG, LONGEST, SHORT])
        assert mixed.words.shape[1] == 6 * 77
        with torch.no_grad():
            torch.testing.assert_close(mixed.words, base.encode_captions([LONG, LONGEST, SHORT]).words)


def test_previews_read_prompts_as_training_reads_captions(base: Base) -> None:
    config = PreviewConfig(
        prompts=(PreviewPrompt(prompt=LONG, negative_prompt="blue", seed=3),),
        every_steps=0,
        inference_steps=2,
        guidance_scale=3.0,
        width=64,
        height=64,
    )
    with torch.no_grad():
        wanted, unwanted = base.encode_captions([LONG]), base.encode_captions(["blue"])
    given = {"prompt_embeds": wanted.words, "negative_prompt_embeds": unwanted.words.repeat(1, 2, 1)}
    if wanted.pooled is not None:
        given |= {"pooled_prompt_embeds": wanted.pooled, "negative_pooled_prompt_embeds": unwanted.pooled}
    expected = base.pipeline()(
        **given,
        height=64,
        width=64,
        num_inference_steps=2,
        guidance_scale=3.0,
        generator=torch.Generator().manual_seed(3),
        output_type="np",
    ).images
    np.testing.assert_allclose(draw_previews(base, base.encode_captions, config), expected, atol=1e-5)


def test_other_limits_are_other_embeddings(base: Base) -> None:
    encoder = base.text_encoders[0]
    assert "225" in encoder.recipe
    encoder.most = 75
    assert "75" not in encoder.recipe
    encoder.most = 225
