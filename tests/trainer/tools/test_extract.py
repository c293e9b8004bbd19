"""Extraction: the adapter that was merged into a model is found again, from every layout."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.trainer.formats.drawn import assert_same_change
from tests.trainer.tools.conftest import Tool, layers_of_kind, names_in, put
from trainer.adapters.weights import LayerWeights
from trainer.formats.grammar import is_unet_layer
from trainer.formats.ldm import to_ldm
from trainer.formats.reading import read_adapter
from trainer.tools.merge_into import merge_into
from trainer.tools.options import Weighted

UNET, TEXT = "unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors"


@pytest.fixture(scope="module")
def layers(unet: torch.nn.Module) -> list[LayerWeights]:
    return layers_of_kind(unet)


@pytest.fixture(scope="module")
def merged(layers: list[LayerWeights], tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("merged")
    adapter = put(folder / "adapter.safetensors", layers)
    merge_into([Weighted(adapter, 1.0)], tiny_base, folder / "tuned")
    return folder


@pytest.fixture
def tuned(merged: Path, tmp_path: Path) -> Path:
    """`tiny_base` with an adapter of ranks 2 to 4 merged in, for each test its own; the adapter lies beside it."""
    shutil.copytree(merged, tmp_path, dirs_exist_ok=True)
    return tmp_path / "tuned"


def changed(folder: Path, file: str, change: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    tensors = load_file(folder / file)
    change(tensors)
    save_file(tensors, folder / file)
    return folder


def single_file(folder: Path, path: Path) -> Path:
    """As SD1.5's models are published: one file, ldm's names."""
    tensors = {}
    for key, tensor in load_file(folder / UNET).items():
        module, _, kind = key.rpartition(".")
        name = to_ldm(module).replace("output_blocks.2.2.", "output_blocks.2.1.") if is_unet_layer(module) else module
        tensors[f"model.diffusion_model.{name}.{kind}"] = tensor
    for key, tensor in load_file(folder / TEXT).items():
        tensors[f"cond_stage_model.transformer.{key}"] = tensor
    tensors["first_stage_model.encoder.conv_in.weight"] = torch.ones(2, 2, 3, 3)
    save_file(tensors, path)
    return path


def assert_found(path: Path, layers: list[LayerWeights]) -> None:
    """Up to the rounding of the models' weights, which are much larger than the change."""
    found = {layer.name: layer for layer in read_adapter(path).layers}
    assert set(found) == {layer.name for layer in layers}
    for layer in layers:
        delta = layer.delta(torch.float64)
        assert (found[layer.name].delta(torch.float64) - delta).norm() < 1e-5 * delta.norm(), layer.name


def test_the_merged_adapter_is_found_again(
    layers: list[LayerWeights], tuned: Path, tiny_base: Path, tmp_path: Path, tool: Tool
) -> None:
    out = tmp_path / "out.safetensors"
    ended = tool("extract", tuned, "--base", tiny_base, "--rank", 4, "--out", out)
    assert (ended.code, ended.err) == (0, "")
    assert_found(out, layers)
    assert "layers are the same in both models" in ended.out
    assert "other tensors" not in ended.out

    narrow = tmp_path / "narrow.safetensors"
    assert tool("extract", tuned, "--base", tiny_base, "--rank", 4, "--conv-rank", 1, "--out", narrow).code == 0
    ranks = {layer.layer.is_spatial: layer.rank for layer in read_adapter(narrow).layers}
    assert ranks[True] == 1


def test_the_rank_follows_the_energy(
    layers: list[LayerWeights], tuned: Path, tiny_base: Path, tmp_path: Path, tool: Tool
) -> None:
    out = tmp_path / "out.safetensors"
    assert tool("extract", tuned, "--base", tiny_base, "--keep", 0.999999, "--out", out).code == 0
    assert {layer.name: layer.rank for layer in read_adapter(out).layers} == {
        layer.name: layer.rank for layer in layers
    }


def test_from_single_files_and_folders_alike(
    layers: list[LayerWeights], tuned: Path, tiny_base: Path, tmp_path: Path, tool: Tool
) -> None:
    files = [single_file(folder, tmp_path / f"{folder.name}.safetensors") for folder in (tuned, tiny_base)]
    for after, before in (files, (tuned, files[1])):
        out = tmp_path / "out.safetensors"
        assert tool("extract", after, "--base", before, "--rank", 4, "--out", out, "--force").code == 0
        assert_found(out, layers)


def test_only_the_targets_are_taken_and_the_rest_is_told(
    layers: list[LayerWeights], tuned: Path, tiny_base: Path, tmp_path: Path, tool: Tool
) -> None:
    def bias(tensors: dict[str, torch.Tensor]) -> None:
        tensors["conv_in.bias"] += 1

    changed(tuned, UNET, bias)
    out = tmp_path / "out.safetensors"
    ended = tool("extract", tuned, "--base", tiny_base, "--rank", 4, "--targets", "attention", "--out", out)
    taken = [one for one in layers if ".attn" in one.name or one.network == "text_encoder"]
    assert_found(out, taken)
    energy = {one.name: float(one.delta(torch.float64).square().sum()) for one in layers}
    biases = load_file(tiny_base / UNET)["conv_in.bias"].numel()
    outside = sum(value for name, value in energy.items() if name not in {one.name for one in taken}) + biases
    assert f"{outside / (sum(energy.values()) + biases):.2%} of the energy lies in other tensors" in ended.out


def test_half_precision_models_in_shards(
    layers: list[LayerWeights], tuned: Path, tiny_base: Path, tmp_path: Path, tool: Tool
) -> None:
    tensors = {key: tensor.bfloat16() for key, tensor in load_file(tuned / UNET).items()}
    (tuned / UNET).unlink()
    for number, keys in enumerate((sorted(tensors)[::2], sorted(tensors)[1::2]), start=1):
        shard = tuned / "unet" / f"diffusion_pytorch_model-0000{number}-of-00002.safetensors"
        save_file({key: tensors[key] for key in keys}, shard)
    out = tmp_path / "out.safetensors"
    ended = tool("extract", tuned, "--base", tiny_base, "--rank", 4, "--out", out)
    assert ended.code == 0
    found = {layer.name: layer for layer in read_adapter(out).layers}
    for layer in layers:
        assert (found[layer.name].delta() - layer.delta()).norm() < 0.05 * layer.delta().norm()


def test_what_was_done_is_told(tuned: Path, tiny_base: Path, tmp_path: Path, tool: Tool) -> None:
    out = tmp_path / "out.safetensors"
    tool("extract", tuned, "--base", tiny_base, "--out", out)
    ended = tool("inspect", out, "-o", "json")
    (entry,) = json.loads(json.loads(ended.out)["metadata"]["loramill_tool"])
    assert entry["tool"] == "extract"
    assert entry["options"] == {"dtype": "fp32", "targets": "all", "rank": 32}
    assert set(entry["base"]) == set(entry["tuned"]) == {UNET, TEXT}


def equal(tuned: Path, tiny_base: Path) -> Path:
    shutil.rmtree(tuned)
    shutil.copytree(tiny_base, tuned)
    return tuned


def of_another_shape(tuned: Path, _: Path) -> Path:
    def wider(tensors: dict[str, torch.Tensor]) -> None:
        tensors["mid_block.attentions.0.proj_in.weight"] = torch.ones(64, 65, 1, 1)

    return changed(tuned, UNET, wider)


def with_nan(tuned: Path, _: Path) -> Path:
    def broken(tensors: dict[str, torch.Tensor]) -> None:
        tensors["mid_block.attentions.0.proj_in.weight"][0, 0] = torch.nan

    return changed(tuned, UNET, broken)


def of_pickles(tuned: Path, _: Path) -> Path:
    (tuned / UNET).rename(tuned / "unet" / "diffusion_pytorch_model.bin")
    return tuned


def an_adapter(tuned: Path, _: Path) -> Path:
    return tuned.parent / "adapter.safetensors"


def a_checkpoint_by_name(tuned: Path, _: Path) -> Path:
    path = tuned.parent / "model.ckpt"
    path.write_bytes(b"PK\x03\x04")
    return path


def no_model(tuned: Path, _: Path) -> Path:
    return tuned / "unet"


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (equal, "there is nothing to extract"),
        (of_another_shape, "1 layers of the unet are not in both models in one shape: unet.mid_block"),
        (with_nan, "NaN or infinity in mid_block.attentions.0.proj_in.weight"),
        (of_pickles, "has no safetensors in unet; pickles are never opened"),
        (an_adapter, "holds no UNet of Stable Diffusion"),
        (a_checkpoint_by_name, "is a pickle by its name"),
        (no_model, "has no model_index.json"),
    ],
)
def test_models_that_cannot_be_compared(
    make: Callable[[Path, Path], Path], expected: str, tuned: Path, tiny_base: Path, tmp_path: Path, tool: Tool
) -> None:
    ended = tool("extract", make(tuned, tiny_base), "--base", tiny_base, "--out", tmp_path / "out.safetensors")
    assert ended.code == 64
    assert expected in ended.err
    assert "out.safetensors" not in names_in(tmp_path)


def test_a_tuned_model_loads_in_fp32_everywhere(layers: list[LayerWeights], tuned: Path) -> None:
    """transformers goes by the type that the configuration states."""
    assert json.loads((tuned / "text_encoder" / "config.json").read_text())["dtype"] == "float32"
    assert {tensor.dtype for tensor in load_file(tuned / TEXT).values()} == {torch.float32}
    assert_same_change(read_adapter(tuned.parent / "adapter.safetensors").layers, layers)
