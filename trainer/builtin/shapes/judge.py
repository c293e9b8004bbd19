"""Says what a 64x64 picture shows: shape (or none), colour and background. The measure of every base and adapter on shapes.

    python -m trainer.builtin.shapes.judge train --vae DIRECTORY      makes judge.safetensors, from a fixed seed, in minutes
    python -m trainer.builtin.shapes.judge score --base DIRECTORY     how often the judge, and then the base, is right

Shapes of tensors: N pictures, 3 channels, height and width SIZE; values in [0, 1] as diffusers returns them.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from trainer.builtin.shapes import draw

WEIGHTS = Path(__file__).with_name("judge.safetensors")

OTHER = "other"
SHAPES = (*draw.SHAPES, OTHER)
COLORS = tuple(draw.COLORS)
BACKGROUNDS = tuple(draw.BACKGROUNDS)


@dataclass(frozen=True)
class Verdict:
    """What one picture shows."""

    shape: str
    """One of SHAPES; `other` for anything that is not clearly one of the shapes."""
    color: str
    background: str


class Judge(nn.Module):
    """Four convolutions, a pool that keeps means and peaks, and one linear layer a question: 42 thousand parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_stage(3, 16, stride=2),  # 32 x 32
            *_stage(16, 32, stride=2),  # 16 x 16
            *_stage(32, 48, stride=2),  # 8 x 8
            *_stage(48, 48, stride=1),
        )
        self.shape = nn.Linear(96, len(SHAPES))
        self.color = nn.Linear(96, len(COLORS))
        self.background = nn.Linear(96, len(BACKGROUNDS))

    def forward(self, pictures: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Logits of shape, colour and background of pictures (N, 3, SIZE, SIZE) in [0, 1]."""
        features = self.body(2 * pictures - 1)
        pooled = torch.cat([features.mean(dim=(2, 3)), features.amax(dim=(2, 3))], dim=1)
        return self.shape(pooled), self.color(pooled), self.background(pooled)

    @torch.no_grad()
    def verdicts(self, pictures: torch.Tensor) -> list[Verdict]:
        """What each of the pictures (N, 3, SIZE, SIZE), in [0, 1], shows."""
        found = [
            [logits.argmax(dim=1) for logits in self(batch)]
            for batch in torch.split(pictures, 64)  # small batches stay in the processor's cache
        ]
        shapes, colors, backgrounds = (torch.cat(column).tolist() for column in zip(*found, strict=True))
        return [
            Verdict(SHAPES[shape], COLORS[color], BACKGROUNDS[background])
            for shape, color, background in zip(shapes, colors, backgrounds, strict=True)
        ]


def _stage(inputs: int, outputs: int, stride: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)
    return convolution, nn.GroupNorm(4, outputs), nn.SiLU()


def load_judge(file: Path = WEIGHTS) -> Judge:
    """The judge, ready to use; its weights are kept in fp16 and computed with in fp32."""
    judge = Judge()
    judge.load_state_dict({key: value.float() for key, value in load_file(file).items()})
    return judge.eval()


def save_judge(judge: Judge, file: Path = WEIGHTS) -> None:
    save_file({key: value.half() for key, value in judge.state_dict().items()}, file)


def main() -> None:
    # Imported here, so that a judge can be loaded without diffusers and its seconds.
    from trainer.builtin.shapes import judge_training, scoring

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="makes the judge")
    train.add_argument(
        "--vae", type=Path, required=True, help="folder of the base's VAE, whose eyes the judge must understand"
    )
    train.add_argument("--out", type=Path, default=WEIGHTS)
    train.add_argument("--work", type=Path, default=Path("build/judge"), help="where a stopped training goes on from")
    train.add_argument("--seed", type=int, default=1)
    score = commands.add_parser("score", help="measures the judge and a base")
    score.add_argument("--base", type=Path, required=True, help="folder of the base, in the diffusers layout")
    score.add_argument("--prompts", type=int, default=200)
    score.add_argument("--json", type=Path, help="where the numbers are kept too")
    arguments = parser.parse_args()
    if arguments.command == "train":
        judge = judge_training.train(arguments.vae, arguments.work, arguments.seed)
        save_judge(judge, arguments.out)
        print(f"made {arguments.out}, {arguments.out.stat().st_size} bytes")
        return
    numbers = scoring.score(load_judge(), arguments.base, arguments.prompts)
    print(scoring.as_text(numbers))
    if arguments.json:
        arguments.json.write_text(json.dumps(numbers, indent=1))


if __name__ == "__main__":
    main()
