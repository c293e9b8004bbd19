"""What `inspect` tells: measured, in words, and harmless whatever the file says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.trainer.tools.conftest import Tool, layers_of_kind, put
from trainer.formats.files import tensors_sha256
from trainer.formats.opening import opened
from trainer.formats.reading import read_adapter
from trainer.tools.printing import span


def row(table: str, beginning: str) -> list[str]:
    """The cells of a line, which are three spaces or more apart."""
    (line,) = (line for line in table.splitlines() if line.startswith(f"{beginning} "))
    return [cell.strip() for cell in line.split("   ") if cell.strip()]


def test_the_tables(tool: Tool, unet: torch.nn.Module, tmp_path: Path) -> None:
    path = put(tmp_path / "a.safetensors", layers_of_kind(unet))
    layers = read_adapter(path).layers
    ended = tool("inspect", path)
    assert (ended.code, ended.err) == (0, "")
    norms = {layer.name: float(layer.delta(torch.float64).norm()) for layer in layers}
    largest = max(norms, key=norms.__getitem__)
    count = sum(layer.count for layer in layers)
    assert row(ended.out, "keys of") == ["keys of", "kohya, for a base model of sd15"]
    assert row(ended.out, "layers") == ["layers", "8 of the unet, 3 of the text_encoder"]
    assert row(ended.out, "numbers") == ["numbers", f"{count:,} in fp32; no NaN, no infinity"]
    assert row(ended.out, "largest change") == ["largest change", f"{norms[largest]:.4g} in norm, {largest}"]
    mine = [layer for layer in layers if layer.network == "text_encoder"]
    assert row(ended.out, "text_encoder") == [
        "text_encoder",
        "2 attention, 1 feed-forward",
        "3",
        "2–4",
        span(layer.alpha for layer in mine),
        span(layer.scale for layer in mine),
        f"{sum(layer.count for layer in mine):,}",
        f"{max(norms[layer.name] for layer in mine):.4g}",
    ]
    assert row(ended.out, "ss_network_dim") == ["ss_network_dim", "99", "rank"]
    assert row(ended.out, "somebody's own") == ["somebody's own", "ä", "not known here"]


def test_for_programs(tool: Tool, unet: torch.nn.Module, tmp_path: Path) -> None:
    layers = layers_of_kind(unet, "lokr", full_matrix=True)
    path = put(tmp_path / "a.safetensors", layers, torch.bfloat16)
    found = json.loads(tool("inspect", path, "-o", "json").out)
    file = opened(path)
    assert found["tensors_sha256"] == {"a.safetensors": tensors_sha256(file.tensors(file.entries))}
    assert (found["dialect"], found["family"], list(found["dtypes"])) == ("kohya", "sd15", ["bf16"])
    text = next(block for block in found["blocks"] if block["block"] == "text_encoder")
    assert (text["types"], text["ranks"], text["strengths"], text["layers"]) == (["LoKr"], [], [1.0], 3)
    assert found["stated_hash_is_right"] is False, "the header states another file's"


def test_directories_of_peft(tool: Tool, unet: torch.nn.Module, tmp_path: Path) -> None:
    path, folder = put(tmp_path / "a.safetensors", layers_of_kind(unet)), tmp_path / "peft"
    tool("convert", path, "--to", "peft", "--out", folder)
    found = json.loads(tool("inspect", folder, "-o", "json").out)
    assert set(found["sha256"]) == {f"{name}/adapter_model.safetensors" for name in ("unet", "text_encoder")}
    assert found["metadata"]["modelspec.title"] == "a heart"
    assert sum(block["layers"] for block in found["blocks"]) == 11


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, []),
        ({"ss_tag_frequency": '{"10_cat": {"cat": 3}}'}, ["ss_tag_frequency"]),
        ({"loramill_spec": '{"outputs": {"captions_in_metadata": true}}'}, ["loramill_spec"]),
        ({"loramill_spec": '{"outputs": {"captions_in_metadata": false}}'}, []),
        ({"loramill_spec": "[" * 100_000}, []),
        ({"loramill_spec": "[]"}, []),
    ],
)
def test_what_tells_of_the_data_is_named(
    metadata: dict[str, str], expected: list[str], tool: Tool, unet: torch.nn.Module, tmp_path: Path
) -> None:
    path = put(tmp_path / "a.safetensors", layers_of_kind(unet), **metadata)
    assert json.loads(tool("inspect", path, "-o", "json").out)["tells_of_the_data"] == expected


@pytest.mark.parametrize("history", ["[[", "7", '["x"]', '{"tool": 5, "options": [], "inputs": 3}'])
def test_a_history_from_elsewhere_is_only_text(history: str, tool: Tool, unet: torch.nn.Module, tmp_path: Path) -> None:
    path = put(tmp_path / "a.safetensors", layers_of_kind(unet), loramill_tool=history)
    assert tool("inspect", path).code == 0
    assert tool("resize", path, "--rank", 1, "--out", tmp_path / "out.safetensors").code == 0
    assert tool("inspect", tmp_path / "out.safetensors").out.splitlines()[-1].startswith("Made by resize of a.safetens")


def test_metadata_cannot_move_the_cursor(tool: Tool, unet: torch.nn.Module, tmp_path: Path) -> None:
    path = put(tmp_path / "a.safetensors", layers_of_kind(unet), **{"modelspec.title": "\x1b[2J\rgood [red]news"})
    ended = tool("inspect", path)
    assert "\x1b" not in ended.out
    assert "good [red]news" in ended.out
