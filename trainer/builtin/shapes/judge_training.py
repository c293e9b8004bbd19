"""Makes the judge: from drawn shapes and lookalikes, as they are and as the base's VAE gives them back.

Every picture carries three labels, of shape, colour and background; UNKNOWN where a question has no answer, as for the colour
of noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch.nn import functional

from trainer.builtin.shapes import draw, lookalikes
from trainer.builtin.shapes.fitting import fit
from trainer.builtin.shapes.judge import BACKGROUNDS, COLORS, OTHER, SHAPES, Judge

STEPS, BATCH = 2_500, 64
SHAPE_PICTURES, LOOKALIKE_PICTURES, MIXED_PICTURES = 8_000, 5_000, 1_800
UNKNOWN = -100
"""What `functional.cross_entropy` leaves out."""


@dataclass(frozen=True)
class Labelled:
    """N pictures with what they show."""

    pictures: torch.Tensor
    """(N, 3, SIZE, SIZE), uint8."""
    labels: torch.Tensor
    """(N, 3), indices of shape, colour and background, or UNKNOWN."""

    def __add__(self, other: Labelled) -> Labelled:
        return Labelled(torch.cat([self.pictures, other.pictures]), torch.cat([self.labels, other.labels]))


def as_tensor(pictures: list[Image.Image]) -> torch.Tensor:
    """(N, 3, SIZE, SIZE), uint8."""
    return torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).permute(0, 3, 1, 2).contiguous()


def label(shape: str, color: str | None = None, background: str | None = None) -> list[int]:
    return [
        SHAPES.index(shape),
        UNKNOWN if color is None else COLORS.index(color),
        UNKNOWN if background is None else BACKGROUNDS.index(background),
    ]


def drawn_shapes(rng: np.random.Generator, count: int) -> Labelled:
    """Shapes, some of them striped, some bent by a pixel as a base's hand bends them."""
    pictures, labels = [], []
    for _ in range(count):
        scene = draw.random_scene(rng, striped=0.1)
        if scene.striped:
            pictures.append(draw.draw(scene))
        else:
            form = draw.mask(scene, lookalikes.LARGE)
            bent = lookalikes.warped(form, rng, reach=0.7) if rng.random() < 0.4 else form
            pictures.append(lookalikes.painted(bent, scene.color, scene.background))
        # Blue with bands of white and white with bands of blue are one picture.
        ambiguous = scene.striped and scene.color in ("blue", "white")
        labels.append(label(scene.shape, None if ambiguous else scene.color, scene.background))
    return Labelled(as_tensor(pictures), torch.tensor(labels))


def drawn_lookalikes(rng: np.random.Generator, count: int) -> Labelled:
    """Every kind of non-shape, evenly; blobs, the commonest failure of a base, three times as often."""
    kinds = [*lookalikes.MASKS, "blob", "blob", "noise", "faded"]
    pictures, labels = [], []
    for number in range(count):
        kind = kinds[number % len(kinds)]
        if kind in lookalikes.MASKS:
            color, background = COLORS[rng.integers(len(COLORS))], BACKGROUNDS[rng.integers(len(BACKGROUNDS))]
            pictures.append(lookalikes.painted(lookalikes.MASKS[kind](rng), color, background))
            labels.append(label(OTHER, None if kind == "nothing" else color, background))
        else:
            pictures.append(lookalikes.noise(rng) if kind == "noise" else lookalikes.faded(rng))
            labels.append(label(OTHER))
    return Labelled(as_tensor(pictures), torch.tensor(labels))


@torch.no_grad()
def through(vae: AutoencoderKL, pictures: torch.Tensor, *, spread: float = 0.0) -> torch.Tensor:
    """Pictures (uint8) as the VAE gives them back (uint8), their latents shaken by `spread` standard deviations."""
    parts = []
    for part in torch.split(pictures, 64):
        latents = vae.encode(part.float() / 127.5 - 1).latent_dist.mean
        parts.append(decoded(vae, latents + spread * latents.std() * torch.randn_like(latents)))
    return torch.cat(parts)


@torch.no_grad()
def decoded(vae: AutoencoderKL, latents: torch.Tensor) -> torch.Tensor:
    """Latents (N, 4, 8, 8), unscaled, as pictures (uint8)."""
    pictures: torch.Tensor = ((vae.decode(latents).sample + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return pictures


@torch.no_grad()
def mixed_latents(vae: AutoencoderKL, rng: np.random.Generator, shapes: Labelled, count: int) -> Labelled:
    """What the VAE makes of latents that belong to no picture: two shapes averaged, cut together, or noise."""
    parts = []
    for _ in range(0, count, 60):
        first = torch.from_numpy(rng.permutation(len(shapes.pictures)))[:60]
        second = torch.from_numpy(rng.permutation(len(shapes.pictures)))[:60]
        different = shapes.labels[first, 0] != shapes.labels[second, 0]
        first, second = first[different], second[different]
        one, two = (vae.encode(shapes.pictures[i].float() / 127.5 - 1).latent_dist.mean for i in (first, second))
        third = len(one) // 3
        share = torch.from_numpy(rng.uniform(0.35, 0.65, (third, 1, 1, 1))).float()
        averaged = one[:third] * share + two[:third] * (1 - share)
        spliced = torch.cat([one[third : 2 * third, :, :, :4], two[third : 2 * third, :, :, 4:]], dim=3)
        noise = one.std() * torch.randn_like(one[2 * third :])
        parts.append(decoded(vae, torch.cat([averaged, spliced, noise])))
    pictures = torch.cat(parts)
    return Labelled(pictures, torch.tensor([label(OTHER)] * len(pictures)))


def training_pictures(vae: AutoencoderKL, seed: int) -> Labelled:
    """All that the judge learns from; nearly half of it as the VAE gives it back."""
    rng = np.random.Generator(np.random.Philox(key=[seed, 1]))
    torch.manual_seed(seed)
    shapes, others = drawn_shapes(rng, SHAPE_PICTURES), drawn_lookalikes(rng, LOOKALIKE_PICTURES)
    seen_shapes, seen_others = (
        Labelled(through(vae, drawn.pictures[:some], spread=0.05), drawn.labels[:some])
        for drawn, some in ((shapes, SHAPE_PICTURES * 5 // 8), (others, LOOKALIKE_PICTURES // 4))
    )
    return shapes + others + seen_shapes + seen_others + mixed_latents(vae, rng, shapes, MIXED_PICTURES)


def disturbed(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures (uint8) as floats in [0, 1]: each mirrored or not, blurred, shifted in colour and covered with noise a little."""
    x = pictures.float() / 255
    count = len(x)
    x = torch.where(torch.rand(count, 1, 1, 1) < 0.5, x.flip(-1), x)
    soft = functional.avg_pool2d(functional.pad(x, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    x = x.lerp(soft, torch.rand(count, 1, 1, 1))
    x = x * (1 + 0.06 * (2 * torch.rand(count, 3, 1, 1) - 1)) + 0.04 * (2 * torch.rand(count, 3, 1, 1) - 1)
    return (x + 0.05 * torch.rand(count, 1, 1, 1) * torch.randn_like(x)).clamp(0, 1)


def train(vae_folder: Path, work: Path, seed: int) -> Judge:
    """The judge, fitted to drawn pictures and to the eyes of the VAE in `vae_folder`. Resumable; state is kept in `work`."""
    work.mkdir(parents=True, exist_ok=True)
    vae = AutoencoderKL.from_pretrained(vae_folder, dtype=torch.float32).eval()
    learnt = training_pictures(vae, seed)
    torch.manual_seed(seed)
    judge = Judge()

    def loss_of(rng: np.random.Generator) -> torch.Tensor:
        chosen = torch.from_numpy(rng.integers(len(learnt.pictures), size=BATCH))
        answers, labels = judge(disturbed(learnt.pictures[chosen])), learnt.labels[chosen]
        losses = [
            functional.cross_entropy(answer, labels[:, i], label_smoothing=0.02) for i, answer in enumerate(answers)
        ]
        return torch.stack(losses).sum()

    fit("judge", judge, loss_of, steps=STEPS, peak=4e-3, work=work, seed=seed)
    return judge
