"""Our UNet against diffusers': the same names in the same order, the same bits, and the same pictures from its pipelines."""

from __future__ import annotations

import inspect
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTextConfig

from tests.trainer.full_size import SD2, SD15, SDXL
from tests.trainer.small_training import CPU
from trainer.adapters.targets import layers_of
from trainer.errors import UserError
from trainer.families.components import DEFAULTS
from trainer.families.registry import load_base
from trainer.families.unet import UNet
from trainer.families.unet_config import filled_in, unet_config

FAMILIES = ("sd15", "sd2", "sdxl")


def ours(written: dict[str, Any]) -> UNet:
    config = unet_config(written)
    assert config is not None
    return UNet(config, filled_in(written))


@pytest.mark.parametrize("config", [SD15, SD2, SDXL], ids=FAMILIES)
def test_at_full_size_it_has_the_same_tensors_and_layers_in_the_same_order(config: dict[str, Any]) -> None:
    with torch.device("meta"):
        mine, theirs = ours(config), UNet2DConditionModel(**config)
    assert [(name, tensor.shape) for name, tensor in mine.state_dict().items()] == [
        (name, tensor.shape) for name, tensor in theirs.state_dict().items()
    ]
    assert list(layers_of(mine).items()) == list(layers_of(theirs).items())


def conditions(family: str, count: int) -> dict[str, Any]:
    """Words of 77 tokens and, of sdxl, what it is told beside them."""
    width = {"sd15": 32, "sd2": 32, "sdxl": 40}[family]
    told: dict[str, Any] = {"encoder_hidden_states": torch.randn(count, 77, width)}
    if family == "sdxl":
        sizes = torch.tensor([[64.0, 96.0, 3.0, 0.0, 64.0, 64.0]]).expand(count, -1)
        told["added_cond_kwargs"] = {"text_embeds": torch.randn(count, 20), "time_ids": sizes}
    return told


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("size", [(8, 8), (7, 10)], ids=["halved", "odd"])
def test_forwards_and_backwards_it_gives_the_same_bits(
    family: str, size: tuple[int, int], folders: dict[str, Path]
) -> None:
    mine: Any = load_base(family, folders[family], CPU, torch.float32).network("unet")
    theirs = UNet2DConditionModel.from_pretrained(folders[family] / "unet")
    assert isinstance(mine, UNet)
    torch.manual_seed(1)
    latents, told, times = torch.randn(2, 4, *size), conditions(family, 2), torch.tensor([3, 871])
    found = []
    for network in (mine, theirs):
        network.train().requires_grad_(True)
        (out,) = network(latents, times, return_dict=False, **told)
        out.square().mean().backward()
        gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
        found.append((out.detach(), gradients))
    (mine_out, mine_gradients), (their_out, their_gradients) = found
    assert torch.equal(mine_out, their_out)
    different = {name for name, value in mine_gradients.items() if not torch.equal(value, their_gradients[name])}
    # One activation of the time for all blocks: the sum of its gradients is rounded elsewhere.
    assert all(name.startswith(("time_embedding", "add_embedding")) for name in different)
    for name in different:
        torch.testing.assert_close(mine_gradients[name], their_gradients[name], rtol=1e-4, atol=1e-7)


def test_a_block_that_is_computed_again_gives_the_same_bits(folders: dict[str, Path]) -> None:
    network: Any = load_base("sdxl", folders["sdxl"], CPU, torch.float32).network("unet")
    told, times = conditions("sdxl", 1), torch.tensor([7])
    latents = torch.randn(1, 4, 8, 8, requires_grad=True)
    network.train()

    def gradient() -> Tensor:
        (out,) = network(latents, times, **told)
        return torch.autograd.grad(out.sum(), latents)[0]

    before = gradient()
    network.enable_gradient_checkpointing()
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        again = gradient()
    assert torch.equal(again, before)
    count = len(kept)
    for module in network.modules():
        module.recomputes = False
    with torch.autograd.graph.saved_tensors_hooks(lambda x: kept.append(x) or x, lambda x: x):
        gradient()
    assert count < 0.5 * (len(kept) - count), "little was forgotten"


def test_a_unet_of_another_kind_is_diffusers_own(folders: dict[str, Path], tmp_path: Path) -> None:
    base = shutil.copytree(folders["sd15"], tmp_path / "base")
    config = json.loads((base / "unet/config.json").read_text())
    UNet2DConditionModel.from_config({**config, "resnet_time_scale_shift": "scale_shift"}).save_pretrained(
        base / "unet"
    )
    assert isinstance(load_base("sd15", base, CPU, torch.float32).network("unet"), UNet2DConditionModel)


def test_files_in_parts_are_read_and_what_they_lack_is_named(folders: dict[str, Path], tmp_path: Path) -> None:
    base = shutil.copytree(folders["sd15"], tmp_path / "base")
    whole = load_base("sd15", base, CPU, torch.float32).network("unet").state_dict()
    file = base / "unet/diffusion_pytorch_model.safetensors"
    names = list(whole)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    tensors = load_file(file)
    file.unlink()
    for part, mine in parts.items():
        save_file({name: tensors[name] for name in mine}, base / "unet" / part)
    index = {"metadata": {}, "weight_map": {name: part for part, mine in parts.items() for name in mine}}
    (base / "unet/diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    found = load_base("sd15", base, CPU, torch.float32).network("unet").state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in whole.items())

    save_file({name: tensors[name] for name in names[3::2]}, base / "unet/b.safetensors")
    with pytest.raises(UserError, match=f"unet lacks 1 of its tensors, such as {names[1]}"):
        load_base("sd15", base, CPU, torch.float32).network("unet")


def test_what_configurations_leave_out_is_what_the_libraries_take() -> None:
    for kind, mine in ((UNet2DConditionModel, filled_in({})), (AutoencoderKL, DEFAULTS["AutoencoderKL"])):
        defaults = {name: one.default for name, one in inspect.signature(kind.__init__).parameters.items()}
        assert {name: defaults[name] for name in mine} == dict(mine)
    text = CLIPTextConfig().to_dict()
    assert {name: text[name] for name in DEFAULTS["CLIPTextModel"]} == dict(DEFAULTS["CLIPTextModel"])
