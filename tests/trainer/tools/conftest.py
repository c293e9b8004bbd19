from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import torch

from tests.trainer.formats.drawn import SOME_LAYERS, drawn_layers
from tests.trainer.tiny_base import tiny_text_encoder, tiny_unet
from trainer.adapters.weights import LayerWeights
from trainer.builtin.shapes.vocabulary import make_tokenizer
from trainer.formats import kohya
from trainer.formats.files import write
from trainer.tools.app import run_tool

TEXT_LAYERS = ("encoder.layers.0.self_attn.q_proj", "encoder.layers.0.self_attn.out_proj", "encoder.layers.1.mlp.fc1")
METADATA = {
    "modelspec.sai_model_spec": "1.0.1",
    "modelspec.title": "a heart",
    "modelspec.hash_sha256": "0xold",
    "ss_network_module": "networks.lora",
    "ss_network_dim": "99",
    "ss_tag_frequency": "{}",
    "somebody's own": "ä",
}


@dataclass(frozen=True)
class Ended:
    """What a tool left."""

    code: int
    out: str
    err: str


Tool = Callable[..., Ended]


@pytest.fixture
def tool(capsys: pytest.CaptureFixture[str]) -> Tool:
    """Runs one in this process: `tool("convert", path, "--to", "peft", …)`."""

    def run(*arguments: object) -> Ended:
        capsys.readouterr()
        code = run_tool([str(argument) for argument in arguments])
        return Ended(code, *capsys.readouterr())

    return run


@pytest.fixture(scope="session")
def unet() -> torch.nn.Module:
    return tiny_unet()


@cache
def _text_encoder() -> torch.nn.Module:
    return tiny_text_encoder(make_tokenizer(["star", "heart"]))


def layers_of_kind(unet: torch.nn.Module, kind: str = "lora", **options: object) -> list[LayerWeights]:
    """Of UNet and text encoder."""
    encoder = _text_encoder()
    text = [path for name, _ in encoder.named_modules() for path in TEXT_LAYERS if name.endswith(path)]
    assert len(text) == len(TEXT_LAYERS)
    return drawn_layers(unet, "unet", SOME_LAYERS, kind, **options) + drawn_layers(
        encoder, "text_encoder", text, kind, **options
    )


def put(path: Path, layers: Sequence[LayerWeights], dtype: torch.dtype = torch.float32, **metadata: str) -> Path:
    """A file of kohya's."""
    write(path, kohya.tensors(layers, dtype), {**METADATA, **metadata})
    return path


def names_in(folder: Path) -> list[str]:
    """Everything in a folder, hidden things too."""
    return sorted(path.name for path in folder.iterdir())
