"""How well a base, with or without an adapter, draws what it is asked for, and how far the judge itself can be trusted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from diffusers import DDIMScheduler, StableDiffusionPipeline
from diffusers.utils import logging

from trainer.builtin.shapes import draw
from trainer.builtin.shapes.judge import Judge, Verdict
from trainer.builtin.shapes.judge_training import as_tensor, through
from trainer.builtin.shapes.wishes import Wish, wishes

INFERENCE_STEPS, GUIDANCE, BATCH = 20, 3.0, 64
JUDGE_PICTURES = 200


def load_pipeline(base: Path) -> StableDiffusionPipeline:
    """The base as any user of diffusers loads it, in fp32, with the sampler that scores are stated for."""
    logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    pipeline = StableDiffusionPipeline.from_pretrained(base, safety_checker=None, dtype=torch.float32)
    pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def sample(
    pipeline: StableDiffusionPipeline,
    prompts: Sequence[str],
    seeds: Sequence[int],
    between: Callable[[], None] = lambda: None,
    steps: int = INFERENCE_STEPS,
) -> torch.Tensor:
    """Pictures (N, 3, SIZE, SIZE) in [0, 1]: DDIM, 20 steps unless asked for else, guidance 3.

    Each picture's first noise comes from its own seed, so it does not depend on what else is in the batch. `between` is called
    after each step, several times a second; what it raises ends the drawing.
    """

    def after_step(_: object, __: int, ___: object, unchanged: dict[str, Any]) -> dict[str, Any]:
        between()
        return unchanged

    parts = []
    for start in range(0, len(prompts), BATCH):
        asked = list(prompts[start : start + BATCH])
        parts.append(
            pipeline(
                asked,
                num_inference_steps=steps,
                guidance_scale=GUIDANCE,
                generator=[torch.Generator().manual_seed(seed) for seed in seeds[start : start + BATCH]],
                output_type="pt",
                callback_on_step_end=after_step,
            ).images
        )
    return torch.cat(parts).float().clamp(0, 1)


def fulfilled(wish: Wish, verdict: Verdict) -> bool:
    """Whether a picture shows the shape in the colour that was asked for."""
    return (verdict.shape, verdict.color) == (wish.shape, wish.color)


def judge_accuracy(
    judge: Judge, vae: Any, pictures_each: int = JUDGE_PICTURES
) -> dict[str, dict[str, dict[str, float]]]:
    """How often the judge is right on pictures that it never saw, drawn and given back by the VAE, by shape.

    `pictures_each` is how many of each shape. Shares of 1 for `shape`, for `shape and color` and for `background`.
    Prompts never ask for stripes, so none has any.
    """
    rng = np.random.Generator(np.random.Philox(key=[20_000, 1]))
    accuracy: dict[str, dict[str, dict[str, float]]] = {"drawn": {}, "reconstructed": {}}
    for shape in draw.SHAPES:
        scenes = [draw.random_scene(rng, [shape], striped=0) for _ in range(pictures_each)]
        drawn = as_tensor([draw.draw(scene) for scene in scenes])
        for name, pictures in (("drawn", drawn), ("reconstructed", through(vae, drawn))):
            verdicts = judge.verdicts(pictures.float() / 255)
            accuracy[name][shape] = _shares(scenes, verdicts)
    return accuracy


def _shares(scenes: Sequence[draw.Scene | Wish], verdicts: Sequence[Verdict]) -> dict[str, float]:
    pairs = list(zip(scenes, verdicts, strict=True))
    return {
        "shape": float(np.mean([verdict.shape == scene.shape for scene, verdict in pairs])),
        "shape and color": float(
            np.mean([(verdict.shape, verdict.color) == (scene.shape, scene.color) for scene, verdict in pairs])
        ),
        "background": float(np.mean([verdict.background == scene.background for scene, verdict in pairs])),
    }


def base_accuracy(
    judge: Judge, pipeline: StableDiffusionPipeline, shapes: Sequence[str], count: int
) -> dict[str, dict[str, float]]:
    """How often the base draws what it is asked for, over `count` prompts with seeds from 1000, by shape and over all."""
    asked = wishes(shapes, count, first_seed=1000)
    verdicts = judge.verdicts(sample(pipeline, [wish.prompt() for wish in asked], [wish.seed for wish in asked]))
    by_shape = {}
    for shape in shapes:
        chosen = [i for i, wish in enumerate(asked) if wish.shape == shape]
        by_shape[shape] = _shares([asked[i] for i in chosen], [verdicts[i] for i in chosen])
    return {**by_shape, "all": _shares(asked, verdicts)}


def score(judge: Judge, base: Path, prompts: int) -> dict[str, Any]:
    """All numbers of a base: of the judge on drawn and reconstructed pictures, of known shapes, of held-out ones."""
    pipeline = load_pipeline(base)
    known = [shape for shape in draw.SHAPES if shape not in draw.HELD_OUT]
    return {
        "judge": judge_accuracy(judge, pipeline.vae),
        "known": base_accuracy(judge, pipeline, known, prompts),
        "held out": base_accuracy(judge, pipeline, draw.HELD_OUT, 32 * len(draw.HELD_OUT)),
    }


def as_text(numbers: dict[str, Any]) -> str:
    """A score as a table of percentages."""
    groups = {
        "judge, drawn pictures": numbers["judge"]["drawn"],
        "judge, VAE reconstructions": numbers["judge"]["reconstructed"],
        "base, known shapes": numbers["known"],
        "base, held-out shapes": numbers["held out"],
    }
    lines = [f"{'':30}{'shape':>10}{'and color':>12}{'background':>12}"]
    for title, rows in groups.items():
        lines.append(title)
        for name, shares in rows.items():
            lines.append(
                f"  {name:28}{shares['shape']:10.1%}{shares['shape and color']:12.1%}{shares['background']:12.1%}"
            )
    return "\n".join(lines)
