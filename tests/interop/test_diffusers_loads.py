"""diffusers' `load_lora_weights` takes every tensor of our files and makes the weights of them that we make."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from torch import nn

from tests.interop.tiny_xl import tiny_xl_pipeline
from tests.trainer.formats.drawn import drawn_layers
from trainer.adapters.targets import layers_of, text_encoder_targets, unet_targets
from trainer.adapters.weights import LayerWeights
from trainer.formats import diffusers, kohya
from trainer.formats.files import write

NETWORKS = ("unet", "text_encoder", "text_encoder_2")
LORA, LOCON = "transformer", "all"


@pytest.fixture(scope="module")
def pipelines(tiny_base: Path) -> dict[str, Any]:
    """Of both layouts, by family."""
    sd15 = StableDiffusionPipeline.from_pretrained(tiny_base, safety_checker=None, local_files_only=True)
    return {"sd15": sd15, "sdxl": tiny_xl_pipeline()}


@pytest.fixture(params=["sd15", "sdxl"])
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def pipeline(family: str, pipelines: dict[str, Any]) -> Iterator[Any]:
    yield pipelines[family]
    pipelines[family].unload_lora_weights()


def networks_of(pipeline: Any) -> dict[str, nn.Module]:
    return {name: getattr(pipeline, name) for name in NETWORKS if getattr(pipeline, name, None) is not None}


def drawn(pipeline: Any, targets: str) -> list[LayerWeights]:
    """Of mixed ranks and alphas, for all networks of the pipeline."""
    found = []
    for name, network in networks_of(pipeline).items():
        layers = layers_of(network)
        paths = unet_targets(layers, targets) if name == "unet" else text_encoder_targets(layers)
        found += drawn_layers(network, name, paths)
    return found


def merged_weights(pipeline: Any) -> dict[str, torch.Tensor]:
    """Every layer's weight with the loaded adapter in it, by network and path."""
    pipeline.fuse_lora()
    weights = {
        f"{name}.{path.replace('.base_layer', '')}": module.weight.detach().clone()
        for name, network in networks_of(pipeline).items()
        for path, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and ".lora_" not in path
    }
    pipeline.unfuse_lora()
    return weights


def bare_weights(pipeline: Any) -> dict[str, torch.Tensor]:
    """Every layer's weight without an adapter, by network and path."""
    return {
        f"{name}.{path}": module.weight.detach().clone()
        for name, network in networks_of(pipeline).items()
        for path, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    }


def largest_difference(pipeline: Any, file: Path, layers: Sequence[LayerWeights]) -> float:
    """Between the weights that diffusers makes with the file and those that we make, over all layers of all networks."""
    before = bare_weights(pipeline)
    pipeline.load_lora_weights(file)
    after = merged_weights(pipeline)
    assert set(after) == set(before)
    ours = before | {layer.name: before[layer.name] + layer.delta() for layer in layers}
    return max(float((after[name] - ours[name]).abs().max()) for name in ours)


@pytest.mark.parametrize("targets", [LORA, LOCON])
def test_our_diffusers_file_with_mixed_ranks_and_alphas(targets: str, pipeline: Any, tmp_path: Path) -> None:
    layers, path = drawn(pipeline, targets), tmp_path / "a.safetensors"
    write(path, diffusers.tensors(layers, torch.float32), diffusers.header(layers))
    assert largest_difference(pipeline, path, layers) < 1e-5


@pytest.mark.parametrize("targets", [LORA, LOCON])
def test_our_kohya_file_with_mixed_ranks_and_alphas(targets: str, family: str, pipeline: Any, tmp_path: Path) -> None:
    layers, path = drawn(pipeline, targets), tmp_path / "a.safetensors"
    assert len({layer.alpha for layer in layers if "attn" in layer.path}) > 1
    write(path, kohya.tensors(layers, torch.float32, family), {})
    assert largest_difference(pipeline, path, layers) < 1e-5
