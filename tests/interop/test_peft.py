"""PEFT loads our directories of every kind without a key left over, and makes the weights of them that we make."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModelWithProjection

from tests.trainer.formats.drawn import KINDS_AND_OPTIONS, drawn_layers
from tests.trainer.tiny_base import tiny_text_encoder, tiny_unet
from trainer.adapters.targets import layers_of, text_encoder_targets, unet_targets
from trainer.adapters.weights import LayerWeights
from trainer.builtin.shapes.vocabulary import make_tokenizer
from trainer.formats import archive, peft


def tiny_text_encoder_2() -> CLIPTextModelWithProjection:
    return CLIPTextModelWithProjection(
        CLIPTextConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, vocab_size=9)
    )


@pytest.fixture
def networks() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {
        "unet": tiny_unet(),
        "text_encoder": tiny_text_encoder(make_tokenizer([])),
        "text_encoder_2": tiny_text_encoder_2(),
    }


def drawn(networks: dict[str, nn.Module], kind: str, **options: object) -> list[LayerWeights]:
    """Of mixed ranks and alphas, for all layers that can be adapted."""
    found = []
    for name, network in networks.items():
        layers = layers_of(network)
        paths = unet_targets(layers, "all") if name == "unet" else text_encoder_targets(layers)
        found += drawn_layers(network, name, paths, kind, **options)
    return found


def assert_peft_merges_what_we_merge(networks: dict[str, nn.Module], layers: list[LayerWeights], path: Path) -> None:
    """PEFT warns of keys that are missing, which is an error in these tests; one that is left over would change nothing."""
    with archive.unpacked(path) as folder:
        for name, network in networks.items():
            expected = {key: weight.clone() for key, weight in network.state_dict().items()}
            for layer in layers:
                if layer.network == name:
                    expected[f"{layer.path}.weight"] += layer.delta()
            found = PeftModel.from_pretrained(network, folder / name).merge_and_unload().state_dict()
            assert set(found) == set(expected)
            assert max(float((found[key] - expected[key]).abs().max()) for key in expected) < 1e-5


@pytest.mark.parametrize("case", KINDS_AND_OPTIONS)
def test_peft_merges_what_we_merge(case: str, networks: dict[str, nn.Module], tmp_path: Path) -> None:
    kind, options = KINDS_AND_OPTIONS[case]
    layers = drawn(networks, kind, **options)
    files, left_out = peft.files(layers, torch.float32)
    assert left_out == []
    archive.packed(files, tmp_path / "a.peft.zip")
    assert_peft_merges_what_we_merge(networks, layers, tmp_path / "a.peft.zip")


def test_layers_that_peft_cannot_cut_are_left_out_and_said(networks: dict[str, nn.Module], tmp_path: Path) -> None:
    """By 8, LoKr cuts 32 into 4 x 8 and PEFT into 8 x 4; nearest to square, PEFT agrees on most sizes, but not on 128 and 256."""
    unet = {"unet": networks["unet"]}
    layers = drawn(unet, "lokr", factor=8)
    files, (sentence,) = peft.files(layers, torch.float32)
    config = json.loads(files["unet/adapter_config.json"])
    kept = [layer for layer in layers if layer.path in config["target_modules"]]
    assert config["decompose_factor"] == -1
    assert len(layers) > len(kept) > len(layers) / 2
    assert sentence.startswith(
        f"PEFT cuts every layer by one factor; {len(layers) - len(kept)} layers are cut by another: "
    )
    archive.packed(files, tmp_path / "a.peft.zip")
    assert_peft_merges_what_we_merge(unet, kept, tmp_path / "a.peft.zip")


def test_layers_of_another_type_are_left_out_and_said(networks: dict[str, nn.Module], tmp_path: Path) -> None:
    unet = {"unet": networks["unet"]}
    layers = [*drawn(unet, "lora")[:3], *drawn(unet, "hada")[3:]]
    files, left_out = peft.files(layers, torch.float32)
    assert left_out == [
        "PEFT's directory holds one adapter type; 3 layers are of another: "
        f"{', '.join(layer.name for layer in layers[:3])}."
    ]
    archive.packed(files, tmp_path / "a.peft.zip")
    assert_peft_merges_what_we_merge(unet, layers[3:], tmp_path / "a.peft.zip")


def test_the_same_adapter_gives_the_same_bytes(networks: dict[str, nn.Module], tmp_path: Path) -> None:
    for name in ("a", "b"):
        archive.packed(peft.files(drawn(networks, "hada"), torch.bfloat16)[0], tmp_path / f"{name}.zip")
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
