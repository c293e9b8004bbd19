"""Reduction from the command line: the numbers that are shown are those of the whole matrices."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from tests.trainer.tools.conftest import Tool, layers_of_kind, put
from trainer.adapters.weights import LayerWeights
from trainer.formats.reading import read_adapter


def singular_values(layers: list[LayerWeights]) -> dict[str, torch.Tensor]:
    return {layer.name: torch.linalg.svdvals(layer.delta(torch.float64).flatten(1)) for layer in layers}


def row(table: str, block: str) -> list[str]:
    (line,) = (line for line in table.splitlines() if line.startswith(block))
    return line.removeprefix(block).split()


def test_the_table_shows_what_each_block_keeps(tool: Tool, unet: torch.nn.Module, tmp_path: Path) -> None:
    layers = layers_of_kind(unet, "hada")
    path, out = put(tmp_path / "a.safetensors", layers), tmp_path / "out.safetensors"
    ended = tool("resize", path, "--rank", 3, "--conv-rank", 2, "--out", out)
    assert (ended.code, ended.err) == (0, "")
    values = singular_values(layers)
    ranks = {layer.name: 2 if layer.layer.is_spatial else 3 for layer in layers}
    assert {layer.name: layer.rank for layer in read_adapter(out).layers} == ranks
    whole = math.hypot(*(float(one.norm()) for one in values.values()))
    lost = math.hypot(*(float(one[ranks[name] :].norm()) for name, one in values.items()))
    count, *_, kept, error = row(ended.out, "in all")
    assert (count, kept, error) == (str(len(layers)), f"{1 - (lost / whole) ** 2:.2%}", f"{lost / whole:.2%}")
    text = [one for name, one in values.items() if name.startswith("text_encoder")]
    whole, lost = (math.hypot(*(float(one[start:].norm()) for one in text)) for start in (0, 3))
    assert row(ended.out, "text_encoder") == [
        str(len(text)),
        "3",
        f"{1 - (lost / whole) ** 2:.2%}",
        f"{lost / whole:.2%}",
    ]


@pytest.mark.parametrize("kind", ["lora", "lokr"])
def test_to_the_lowest_rank_that_keeps_a_share(kind: str, tool: Tool, unet: torch.nn.Module, tmp_path: Path) -> None:
    layers = layers_of_kind(unet, kind)
    path, out = put(tmp_path / "a.safetensors", layers), tmp_path / "out.safetensors"
    assert tool("resize", path, "--keep", 0.8, "--out", out).code == 0
    values = singular_values(layers)
    for layer in read_adapter(out).layers:
        energy = values[layer.name].square().cumsum(0) / values[layer.name].square().sum()
        assert energy[layer.rank - 1] >= 0.8 - 1e-9, layer.name
        assert layer.rank == 1 or energy[layer.rank - 2] < 0.8, layer.name


def test_a_rank_or_a_share_must_be_given(tool: Tool, tmp_path: Path) -> None:
    ended = tool("resize", "a.safetensors", "--out", tmp_path / "out")
    assert ended.code == 2
    assert "--rank N, --keep SHARE" in ended.err
