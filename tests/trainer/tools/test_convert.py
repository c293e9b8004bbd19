"""Adapters from format to format: the same change, everything that the header knew, and no file that is half written."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from tests.trainer.formats.drawn import KINDS_AND_OPTIONS, assert_same_change
from tests.trainer.tools.conftest import Tool, layers_of_kind, names_in, put
from trainer.adapters.targets import Layer
from trainer.adapters.weights import LayerWeights
from trainer.formats import kohya
from trainer.formats.files import write
from trainer.formats.reading import read_adapter


def metadata(path: Path) -> dict[str, str]:
    with safe_open(path, "pt") as file:
        return dict(file.metadata())


@pytest.mark.parametrize("case", KINDS_AND_OPTIONS)
def test_there_and_back_is_the_same_change(case: str, tool: Tool, unet: torch.nn.Module, tmp_path: Path) -> None:
    kind, options = KINDS_AND_OPTIONS[case]
    layers = layers_of_kind(unet, kind, **options)
    last = put(tmp_path / "first.safetensors", layers)
    on_the_way = ("diffusers", "peft", "kohya") if case == "LoRA" else ("peft", "kohya")
    for number, to in enumerate(on_the_way):
        out = tmp_path / f"{number}{'' if to == 'peft' else '.safetensors'}"
        ended = tool("convert", last, "--to", to, "--out", out)
        assert (ended.code, ended.err) == (0, "")
        file = read_adapter(out)
        assert file.dialect == to
        assert_same_change(file.layers, layers)
        last = out


def test_sdxl_keeps_its_names(tool: Tool, tmp_path: Path) -> None:
    """kohya's are ldm's blocks there, and there are two text encoders."""
    layers = [
        LayerWeights(
            network=network,
            path=path,
            layer=Layer(6, 5),
            tensors={"lora_down": torch.randn(2, 5), "lora_up": torch.randn(6, 2)},
            alpha=1.0,
        )
        for network, path in (
            ("unet", "down_blocks.1.attentions.0.transformer_blocks.1.attn1.to_q"),
            ("text_encoder", "encoder.layers.0.self_attn.out_proj"),
            ("text_encoder_2", "text_model.encoder.layers.0.self_attn.out_proj"),
        )
    ]
    first = tmp_path / "first.safetensors"
    write(first, kohya.tensors(layers, torch.float32, "sdxl"), {})
    assert tool("convert", first, "--to", "diffusers", "--out", tmp_path / "d.safetensors").code == 0
    assert tool("convert", tmp_path / "d.safetensors", "--to", "kohya", "--out", tmp_path / "k.safetensors").code == 0
    with safe_open(first, "pt") as before, safe_open(tmp_path / "k.safetensors", "pt") as after:
        assert set(before.keys()) == set(after.keys())
    assert_same_change(read_adapter(tmp_path / "k.safetensors").layers, layers)


def test_what_a_format_cannot_hold_is_refused_with_the_remedy(
    tool: Tool, unet: torch.nn.Module, tmp_path: Path
) -> None:
    path, out = put(tmp_path / "a.safetensors", layers_of_kind(unet, "hada")), tmp_path / "out.safetensors"
    refused = tool("convert", path, "--to", "diffusers", "--out", out)
    assert refused.code == 64
    assert "diffusers loads no LoHa" in refused.err
    assert "--reduce" in refused.err
    assert names_in(tmp_path) == ["a.safetensors"]

    ended = tool("convert", path, "--to", "diffusers", "--reduce", 64, "--out", out)
    assert ended.code == 0
    assert_same_change(read_adapter(out).layers, read_adapter(path).layers)
    assert [line.split()[0] for line in ended.out.splitlines() if line.startswith("text_encoder")] == ["text_encoder"]


def test_a_tucker_lora_becomes_a_plain_one_exactly(tool: Tool, unet: torch.nn.Module, tmp_path: Path) -> None:
    layers = layers_of_kind(unet, "lora", tucker=True)
    path, out = put(tmp_path / "a.safetensors", layers), tmp_path / "out.safetensors"
    assert tool("convert", path, "--to", "diffusers", "--reduce", 4, "--out", out).code == 0
    assert_same_change(read_adapter(out).layers, layers)


def test_numbers_stay_as_narrow_as_they_were(tool: Tool, unet: torch.nn.Module, tmp_path: Path) -> None:
    path = put(tmp_path / "a.safetensors", layers_of_kind(unet), torch.float16)
    for precision, expected in ((None, torch.float16), ("bf16", torch.bfloat16), ("fp32", torch.float32)):
        out = tmp_path / f"{precision}.safetensors"
        more = () if precision is None else ("--dtype", precision)
        assert tool("convert", path, "--to", "kohya", "--out", out, *more).code == 0
        dtypes = {tensor.dtype for layer in read_adapter(out).layers for tensor in layer.tensors.values()}
        assert dtypes == {expected}


def test_what_rounding_costs_is_measured(tool: Tool, unet: torch.nn.Module, tmp_path: Path) -> None:
    layers = layers_of_kind(unet)
    path, out = put(tmp_path / "a.safetensors", layers), tmp_path / "out.safetensors"
    said = tool("convert", path, "--to", "diffusers", "--dtype", "bf16", "--out", out).out
    read = {layer.name: layer for layer in read_adapter(out).layers}
    lost = sum(float((layer.delta() - read[layer.name].delta()).square().sum()) for layer in layers)
    whole = sum(float(layer.delta().square().sum()) for layer in layers)
    assert f"differs by {(lost / whole) ** 0.5:.2%} in norm" in said


def test_the_header_is_carried_over_and_tells_what_was_done(tool: Tool, unet: torch.nn.Module, tmp_path: Path) -> None:
    path = put(tmp_path / "a.safetensors", layers_of_kind(unet))
    middle, out = tmp_path / "b.safetensors", tmp_path / "c.safetensors"
    tool("convert", path, "--to", "diffusers", "--out", middle)
    tool("resize", middle, "--rank", 2, "--out", out)
    told = metadata(out)
    assert (told["modelspec.title"], told["somebody's own"]) == ("a heart", "ä")
    assert "lora_adapter_metadata" in metadata(middle)
    assert "lora_adapter_metadata" not in told, "it is of diffusers' files alone"
    assert told["ss_network_dim"] == "2", "the network is another now"
    assert metadata(middle)["ss_network_dim"] == "99"
    first, second = json.loads(told["loramill_tool"])
    assert (first["tool"], first["options"]) == ("convert", {"to": "diffusers", "dtype": "fp32"})
    assert first["inputs"] == [{"sha256": {"a.safetensors": hashlib.sha256(path.read_bytes()).hexdigest()}}]
    assert (second["tool"], second["options"]["rank"]) == ("resize", 2)
    content = out.read_bytes()
    behind = content[8 + int.from_bytes(content[:8], "little") :]
    assert told["modelspec.hash_sha256"] == f"0x{hashlib.sha256(behind).hexdigest()}"


def test_the_same_input_gives_the_same_bytes(tool: Tool, unet: torch.nn.Module, tmp_path: Path) -> None:
    path, out = put(tmp_path / "a.safetensors", layers_of_kind(unet, "hada")), tmp_path / "out.safetensors"
    contents = set()
    for _ in range(2):
        assert tool("resize", path, "--rank", 2, "--out", out, "--force").code == 0
        contents.add(out.read_bytes())
    assert len(contents) == 1


def test_existing_files_stay_unless_forced(tool: Tool, unet: torch.nn.Module, tmp_path: Path) -> None:
    path, out = put(tmp_path / "a.safetensors", layers_of_kind(unet)), tmp_path / "out.safetensors"
    out.write_text("mine")
    refused = tool("convert", path, "--to", "kohya", "--out", out)
    assert refused.code == 64
    assert "exists" in refused.err
    assert out.read_text() == "mine"
    assert tool("convert", path, "--to", "kohya", "--out", out, "--force").code == 0
    assert_same_change(read_adapter(out).layers, read_adapter(path).layers)
    assert names_in(tmp_path) == ["a.safetensors", "out.safetensors"], "nothing temporary is left"


def test_a_file_can_be_converted_onto_itself(tool: Tool, unet: torch.nn.Module, tmp_path: Path) -> None:
    layers = layers_of_kind(unet)
    path = put(tmp_path / "a.safetensors", layers)
    assert tool("convert", path, "--to", "diffusers", "--out", path, "--force").code == 0
    assert_same_change(read_adapter(path).layers, layers)


@pytest.mark.parametrize("out", [".", "nowhere/out.safetensors"])
def test_folders_are_never_overwritten_nor_made(out: str, tool: Tool, unet: torch.nn.Module, tmp_path: Path) -> None:
    path = put(tmp_path / "a.safetensors", layers_of_kind(unet))
    refused = tool("convert", path, "--to", "kohya", "--out", tmp_path / out, "--force")
    assert refused.code == 64
    assert "folder" in refused.err
    assert names_in(tmp_path) == ["a.safetensors"]
