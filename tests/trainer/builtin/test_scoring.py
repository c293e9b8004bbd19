"""What a base is asked to draw when it is scored, and that a picture depends on its own seed alone."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from trainer.builtin.shapes import draw, scoring
from trainer.builtin.shapes.judge import Verdict
from trainer.builtin.shapes.vocabulary import make_tokenizer
from trainer.builtin.shapes.wishes import Wish, wishes

KNOWN = [shape for shape in draw.SHAPES if shape not in draw.HELD_OUT]


def test_wishes_are_spread_evenly_and_never_share_a_seed() -> None:
    asked = wishes(KNOWN, 192, first_seed=1000)
    assert {wish.seed for wish in asked} == set(range(1000, 1192))
    assert Counter((wish.shape, wish.color, wish.background) for wish in asked) == Counter(
        itertools.product(KNOWN, draw.COLORS, draw.BACKGROUNDS)
    )
    few = asked[: 8 * len(KNOWN)]
    assert {(wish.shape, wish.color) for wish in few} == set(itertools.product(KNOWN, draw.COLORS))


def test_wishes_in_words() -> None:
    wish = Wish(shape="heart", color="orange", background="sand", seed=1)
    assert wish.prompt() == "an orange heart on a sand background"
    assert wish.prompt("lumi") == "an orange lumi on a sand background"


@pytest.mark.parametrize(
    ("verdict", "right"),
    [
        (Verdict("star", "red", "sky"), True),
        (Verdict("star", "red", "sand"), True),
        (Verdict("star", "pink", "sky"), False),
        (Verdict("other", "red", "sky"), False),
    ],
)
def test_a_wish_is_fulfilled_by_shape_and_colour(verdict: Verdict, right: bool) -> None:
    assert scoring.fulfilled(Wish(shape="star", color="red", background="sky", seed=0), verdict) is right


@pytest.fixture(scope="module")
def untrained() -> StableDiffusionPipeline:
    """A pipeline of the base's layout, far smaller and with random weights."""
    torch.manual_seed(0)
    tokenizer = make_tokenizer(KNOWN)
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL(
            down_block_types=["DownEncoderBlock2D"] * 4,
            up_block_types=["UpDecoderBlock2D"] * 4,
            block_out_channels=(8, 8, 8, 8),
            layers_per_block=1,
            latent_channels=4,
            norm_num_groups=4,
            sample_size=draw.SIZE,
        ),
        text_encoder=CLIPTextModel(
            CLIPTextConfig(
                vocab_size=len(tokenizer),
                hidden_size=16,
                intermediate_size=16,
                num_hidden_layers=1,
                num_attention_heads=2,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        ),
        tokenizer=tokenizer,
        unet=UNet2DConditionModel(
            sample_size=8,
            down_block_types=("CrossAttnDownBlock2D",),
            up_block_types=("CrossAttnUpBlock2D",),
            block_out_channels=(16,),
            layers_per_block=1,
            cross_attention_dim=16,
            attention_head_dim=4,
            norm_num_groups=4,
        ),
        scheduler=DDIMScheduler(clip_sample=False, set_alpha_to_one=False, steps_offset=1),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def test_a_picture_depends_on_its_prompt_and_seed_alone(
    untrained: StableDiffusionPipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "INFERENCE_STEPS", 3)
    prompts = [
        "a red star on a sky background",
        "a blue ring on a sand background",
        "a pink cross on a night background",
    ]
    together = scoring.sample(untrained, prompts, [5, 6, 7])
    assert together.shape == (3, 3, draw.SIZE, draw.SIZE)
    assert together.min() >= 0
    assert together.max() <= 1
    monkeypatch.setattr(scoring, "BATCH", 2)
    apart = scoring.sample(untrained, prompts[::-1], [7, 6, 5]).flip(0)
    assert torch.allclose(apart, together, atol=1e-4)
    assert not torch.allclose(scoring.sample(untrained, prompts[:1], [8]), together[:1], atol=1e-2)
