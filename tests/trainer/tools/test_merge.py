"""Merging: the sum of the changes, exactly, as an adapter or in a base model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from tests.trainer.formats.drawn import assert_same_change
from tests.trainer.tools.conftest import METADATA, Tool, layers_of_kind, names_in, put
from trainer.adapters.targets import Layer
from trainer.adapters.weights import LayerWeights
from trainer.formats import kohya
from trainer.formats.files import write
from trainer.formats.reading import read_adapter


@pytest.fixture
def three(unet: torch.nn.Module, tmp_path: Path) -> list[Path]:
    """Of different types; the second lacks the text encoder."""
    return [
        put(tmp_path / "lora.safetensors", layers_of_kind(unet, "lora", tucker=True), **{"modelspec.title": "one"}),
        put(tmp_path / "loha.safetensors", [one for one in layers_of_kind(unet, "hada") if one.network == "unet"]),
        put(tmp_path / "lokr.safetensors", layers_of_kind(unet, "lokr"), ss_seed="5"),
    ]


def summed(paths: list[Path], weights: list[float]) -> dict[str, torch.Tensor]:
    """By layer, fp64."""
    found: dict[str, torch.Tensor] = {}
    for path, weight in zip(paths, weights, strict=True):
        for layer in read_adapter(path).layers:
            found[layer.name] = found.get(layer.name, 0) + weight * layer.delta(torch.float64)
    return found


def test_the_sum_is_exact(tool: Tool, three: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    ended = tool("merge", f"{three[0]}:0.7", f"{three[1]}:-0.5", three[2], "--out", out)
    assert (ended.code, ended.err) == (0, "")
    wanted = summed(three, [0.7, -0.5, 1.0])
    found = {layer.name: layer for layer in read_adapter(out).layers}
    assert set(found) == set(wanted)
    for name, layer in found.items():
        assert set(layer.tensors) == {"lora_down", "lora_up"}
        assert layer.rank <= min(layer.layer.outputs, layer.layer.columns)
        assert (layer.delta(torch.float64) - wanted[name]).norm() < 1e-6 * wanted[name].norm(), name


def test_the_ranks_of_loras_add_up(tool: Tool, unet: torch.nn.Module, tmp_path: Path) -> None:
    path, out = put(tmp_path / "a.safetensors", layers_of_kind(unet)), tmp_path / "out.safetensors"
    assert tool("merge", path, f"{path}:-1", "--out", out).code == 0
    before = {layer.name: layer.rank for layer in read_adapter(path).layers}
    assert {layer.name: layer.rank for layer in read_adapter(out).layers} == {
        name: 2 * rank for name, rank in before.items()
    }
    assert all(layer.delta().abs().max() < 1e-6 for layer in read_adapter(out).layers), "one takes the other away"


def test_the_sum_can_be_reduced(tool: Tool, three: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    assert tool("merge", *three, "--rank", 3, "--out", out).code == 0
    wanted = summed(three, [1, 1, 1])
    for layer in read_adapter(out).layers:
        assert layer.rank <= 3
        lost = (layer.delta(torch.float64) - wanted[layer.name]).norm()
        least = torch.linalg.svdvals(wanted[layer.name].flatten(1))[3:].norm()
        assert abs(lost - least) < 1e-5 * wanted[layer.name].norm()


def test_the_header_has_what_all_agree_on_and_each_on_its_own(tool: Tool, three: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out.safetensors"
    assert tool("merge", f"{three[0]}:0.7", three[2], "--out", out).code == 0
    with safe_open(out, "pt") as file:
        told = file.metadata()
    assert told["somebody's own"] == METADATA["somebody's own"]
    assert "modelspec.title" not in told
    (entry,) = json.loads(told["loramill_tool"])
    assert [one["weight"] for one in entry["inputs"]] == [0.7, 1.0]
    assert [one["metadata"].get("modelspec.title") for one in entry["inputs"]] == ["one", "a heart"]
    assert entry["inputs"][1]["metadata"]["ss_seed"] == "5"


def of_shape(path: Path, layer: Layer, family: str = "sd15") -> Path:
    tensors = {"lora_down": torch.ones(1, layer.inputs), "lora_up": torch.ones(layer.outputs, 1)}
    name = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
    weights = LayerWeights(network="unet", path=name, layer=layer, tensors=tensors, alpha=1)
    write(path, kohya.tensors([weights], torch.float32, family), {})
    return path


@pytest.mark.parametrize(
    ("other", "family", "expected"),
    [
        (Layer(640, 2048), "sdxl", "different families of base models: a.safetensors (sd15), b.safetensors (sdxl)"),
        (Layer(320, 768), "sd15", "1 layers are of different shapes, such as unet.down_blocks.1"),
    ],
)
def test_adapters_of_different_bases_are_refused(
    other: Layer, family: str, expected: str, tool: Tool, tmp_path: Path
) -> None:
    first = of_shape(tmp_path / "a.safetensors", Layer(640, 768))
    second = of_shape(tmp_path / "b.safetensors", other, family)
    refused = tool("merge", first, second, "--out", tmp_path / "out.safetensors")
    assert refused.code == 64
    assert expected in refused.err
    assert names_in(tmp_path) == ["a.safetensors", "b.safetensors"]


def test_into_a_base_model(tool: Tool, three: list[Path], tiny_base: Path, tmp_path: Path) -> None:
    out = tmp_path / "merged"
    ended = tool("merge", f"{three[0]}:0.7", three[2], "--into", tiny_base, "--out", out)
    assert (ended.code, ended.err) == (0, "")
    wanted = summed([three[0], three[2]], [0.7, 1.0])
    changed = 0
    for network, file in (("unet", "diffusion_pytorch_model"), ("text_encoder", "model")):
        before, after = (load_file(folder / network / f"{file}.safetensors") for folder in (tiny_base, out))
        assert set(before) == set(after)
        for key, tensor in after.items():
            name = f"{network}.{key.removesuffix('.weight').removeprefix('text_model.')}"
            expected = before[key].double() + wanted.get(name, 0)
            changed += name in wanted and key.endswith(".weight")
            torch.testing.assert_close(tensor.double(), expected, rtol=1e-7, atol=1e-7)
    assert changed == len(wanted)
    assert f"{changed} weights" in ended.out
    vae = "vae/diffusion_pytorch_model.safetensors"
    assert (out / vae).read_bytes() == (tiny_base / vae).read_bytes()


def test_what_narrow_numbers_lose_is_measured(
    tool: Tool, unet: torch.nn.Module, tiny_base: Path, tmp_path: Path
) -> None:
    """Of the difference between the weights before and after, both rounded."""
    layers = [one for one in layers_of_kind(unet) if one.network == "unet"]
    path = put(tmp_path / "a.safetensors", layers)
    ended = tool("merge", f"{path}:0.01", "--into", tiny_base, "--out", tmp_path / "merged")
    base = load_file(tiny_base / "unet" / "diffusion_pytorch_model.safetensors")
    lost = whole = 0.0
    for layer in layers:
        change, before = 0.01 * layer.delta(torch.float64), base[f"{layer.path}.weight"].double()
        stored = (before + change).bfloat16().double() - before.bfloat16().double()
        lost, whole = lost + float((stored - change).square().sum()), whole + float(change.square().sum())
    assert f"{(lost / whole) ** 0.5:.2%} in bf16" in ended.out


def test_an_adapter_of_another_model_is_not_merged(tool: Tool, tiny_base: Path, tmp_path: Path) -> None:
    path = of_shape(tmp_path / "a.safetensors", Layer(640, 768))
    refused = tool("merge", path, "--into", tiny_base, "--out", tmp_path / "merged")
    assert refused.code == 64
    assert "640 x 768 in the file" in refused.err
    assert names_in(tmp_path) == ["a.safetensors"]


@pytest.mark.parametrize(
    ("arguments", "code", "expected"),
    [
        (["a.safetensors:much", "--out", "o"], 64, "ends in 'much', which is no number"),
        (["a.safetensors:nan", "--out", "o"], 64, "ends in 'nan', which is no number"),
        (["a.safetensors", "--into", "base", "--rank", "3", "--out", "o"], 2, "leave out --rank"),
        (["--out", "o"], 2, "Missing argument"),
    ],
)
def test_wrong_command_lines(arguments: list[str], code: int, expected: str, tool: Tool) -> None:
    ended = tool("merge", *arguments)
    assert ended.code == code
    assert expected in ended.err


def test_a_layer_that_only_one_has_stays_as_it_is(tool: Tool, unet: torch.nn.Module, tmp_path: Path) -> None:
    layers = layers_of_kind(unet)
    first = put(tmp_path / "a.safetensors", layers[:4])
    second, out = put(tmp_path / "b.safetensors", layers[4:]), tmp_path / "out.safetensors"
    assert tool("merge", first, second, "--out", out).code == 0
    assert_same_change(read_adapter(out).layers, layers)
