"""Files of every dialect and kind are read as the layers that they were written from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.trainer.formats.drawn import KINDS_AND_OPTIONS, SOME_LAYERS, assert_same_change, drawn_layers
from tests.trainer.tiny_base import tiny_text_encoder, tiny_unet
from trainer.adapters.targets import layers_of, text_encoder_targets
from trainer.adapters.weights import LayerWeights
from trainer.builtin.shapes.vocabulary import make_tokenizer
from trainer.formats import archive, diffusers, kohya, names, peft
from trainer.formats.files import write
from trainer.formats.names import CONFIG, MODEL, ModuleName
from trainer.formats.reading import AdapterFile, read_adapter

Draw = Callable[..., list[LayerWeights]]


@pytest.fixture(scope="module")
def draw() -> Draw:
    """Draws adapters for some of the tiny base's layers."""
    unet, text_encoder = tiny_unet(), tiny_text_encoder(make_tokenizer([]))
    paths = text_encoder_targets(layers_of(text_encoder))

    def drawn(kind: str = "lora", **options: object) -> list[LayerWeights]:
        return drawn_layers(unet, "unet", SOME_LAYERS, kind, **options) + drawn_layers(
            text_encoder, "text_encoder", paths, kind, **options
        )

    return drawn


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., AdapterFile]:
    """Writes tensors as a file and reads them."""

    def written_and_read(tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> AdapterFile:
        path = tmp_path / "a.safetensors"
        write(path, tensors, metadata or {})
        return read_adapter(path)

    return written_and_read


@pytest.mark.parametrize("case", KINDS_AND_OPTIONS)
def test_kohya(case: str, draw: Draw, read: Callable[..., AdapterFile]) -> None:
    kind, options = KINDS_AND_OPTIONS[case]
    layers = draw(kind, **options)
    file = read(kohya.tensors(layers, torch.float32), {"ss_seed": "7"})
    assert (file.dialect, file.family, file.notes) == ("kohya", "sd15", ())
    assert file.metadata == {"ss_seed": "7"}
    assert_same_change(file.layers, layers)
    assert {layer.name: set(layer.tensors) for layer in file.layers} == {
        layer.name: set(layer.tensors) for layer in layers
    }


def test_kohya_states_one_alpha_for_all_layers_that_diffusers_may_take_for_attention(
    draw: Draw, read: Callable[..., AdapterFile]
) -> None:
    layers = draw()
    stated = {layer.name: layer.alpha for layer in read(kohya.tensors(layers, torch.float32)).layers}
    wider = {layer.name: layer.alpha for layer in layers if layer.layer.is_spatial}
    assert {name: stated[name] for name in wider} == wider, "convolutions have alphas of their own"
    others: dict[str, set[float]] = {"unet": set(), "text_encoder": set()}
    for name in stated.keys() - wider.keys():
        others[name.partition(".")[0]].add(stated[name])
    assert [len(alphas) for alphas in others.values()] == [1, 1]
    assert len({layer.alpha for layer in layers if layer.name not in wider}) > 1, "else it proves nothing"


@pytest.mark.parametrize("case", KINDS_AND_OPTIONS)
def test_lycoris(case: str, draw: Draw, read: Callable[..., AdapterFile]) -> None:
    kind, options = KINDS_AND_OPTIONS[case]
    layers = draw(kind, **options)
    tensors = {
        key.replace("lora_unet_", "lycoris_").replace("lora_te_", "lycoris_"): tensor
        for key, tensor in kohya.tensors(layers, torch.float32).items()
    }
    file = read(tensors)
    assert file.dialect == "lycoris"
    assert_same_change(file.layers, layers)


def test_diffusers(draw: Draw, read: Callable[..., AdapterFile]) -> None:
    layers = draw()
    file = read(diffusers.tensors(layers, torch.float32), diffusers.header(layers))
    assert (file.dialect, file.family, file.notes) == ("diffusers", "sd15", ())
    assert_same_change(file.layers, layers)


def _newer(module: str, side: str) -> str:
    """As `pipeline.save_lora_weights` writes since 2024."""
    if module.endswith(("to_q", "to_k", "to_v", "to_out.0")):
        return f"{module}.lora.{side}.weight"
    if module.endswith("_proj") and "text_model" in module:
        return f"{module}.lora_linear_layer.{side}.weight"
    return f"{module}.lora_{'A' if side == 'down' else 'B'}.weight"


def _processors(module: str, side: str) -> str:
    """As attention processors were saved in 2023."""
    attention, _, last = module.removesuffix(".0").rpartition(".")
    if "self_attn" in attention:
        return f"{attention}.to_{last.removesuffix('_proj')}_lora.{side}.weight"
    return f"{attention}.processor.{last}_lora.{side}.weight" if "attn" in attention else _newer(module, side)


@pytest.mark.parametrize("spelling", [_newer, _processors, lambda *key: _processors(*key).removeprefix("unet.")])
def test_diffusers_older_keys_without_alpha(
    spelling: Callable[[str, str], str], draw: Draw, read: Callable[..., AdapterFile]
) -> None:
    layers = [layer.with_tensors(layer.tensors, float(layer.rank or 0)) for layer in draw()]
    tensors = {
        spelling(names.diffusers(ModuleName(layer.network, layer.path)), side): layer.tensors[f"lora_{side}"]
        for layer in layers
        for side in ("down", "up")
    }
    file = read(tensors)
    assert file.dialect == "diffusers"
    assert_same_change(file.layers, layers)
    assert file.notes == (
        f"{len(layers)} of {len(layers)} modules have no alpha; alpha = rank is meant, a strength of 1.",
    )


@pytest.mark.parametrize("rank_stabilized", [False, True])
def test_diffusers_ranks_and_alphas_in_the_header(
    rank_stabilized: bool, draw: Draw, read: Callable[..., AdapterFile]
) -> None:
    unscaled = [layer.with_tensors(layer.tensors, float(layer.rank or 0)) for layer in draw()]
    described: dict[str, object] = {}
    for network in ("unet", "text_encoder"):
        mine = [layer for layer in unscaled if layer.network == network]
        described |= {
            f"{network}.r": 4,
            f"{network}.lora_alpha": 8,
            f"{network}.use_rslora": rank_stabilized,
            f"{network}.rank_pattern": {layer.path: layer.rank for layer in mine if layer.rank != 4},
            f"{network}.alpha_pattern": {"proj_in": 1, "fc1": 3},
        }
    file = read(diffusers.tensors(unscaled, torch.float32), {"lora_adapter_metadata": json.dumps(described)})
    for layer in file.layers:
        alpha = 1 if layer.path.endswith("proj_in") else 3 if layer.path.endswith("fc1") else 8
        rank = layer.rank or 0
        assert layer.scale == pytest.approx(alpha / (rank**0.5 if rank_stabilized else rank))


@pytest.mark.parametrize("case", KINDS_AND_OPTIONS)
def test_peft(case: str, draw: Draw, tmp_path: Path) -> None:
    """The zip, the folder of both networks, one network's folder, and its file alone."""
    kind, options = KINDS_AND_OPTIONS[case]
    layers = draw(kind, **options)
    files, left_out = peft.files(layers, torch.float32)
    assert left_out == []
    archive.packed(files, tmp_path / "a.peft.zip")
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    for path in (tmp_path / "a.peft.zip", tmp_path):
        file = read_adapter(path)
        assert (file.dialect, file.family, file.notes) == ("peft", "sd15", ())
        assert_same_change(file.layers, layers)
    for network in ("unet", "text_encoder"):
        for path in (tmp_path / network, tmp_path / network / MODEL):
            assert_same_change(read_adapter(path).layers, [layer for layer in layers if layer.network == network])


def test_peft_strength_of_full_lokr_is_multiplied_in(draw: Draw, tmp_path: Path) -> None:
    """PEFT divides by r where the tensors have no rank; everything else applies a strength of 1 to such tensors."""
    layers = [layer for layer in draw("lokr", full_matrix=True) if layer.network == "unet"]
    for name, content in peft.files(layers, torch.float32)[0].items():
        (tmp_path / Path(name).name).write_bytes(content)
    config = json.loads((tmp_path / CONFIG).read_text())
    (tmp_path / CONFIG).write_text(json.dumps({**config, "alpha": 1, "r": 2, "rank_pattern": {}, "alpha_pattern": {}}))
    for one, other in zip(read_adapter(tmp_path).layers, sorted(layers, key=lambda layer: layer.path), strict=True):
        torch.testing.assert_close(one.delta(), other.delta() / 2)


def test_an_alpha_is_a_number_of_any_type(draw: Draw, read: Callable[..., AdapterFile]) -> None:
    layers = draw()
    tensors = kohya.tensors(layers, torch.bfloat16)
    alphas = {key: tensor for key, tensor in tensors.items() if key.endswith(".alpha")}
    whole = {key: torch.tensor([3]) for key in alphas}
    file = read({**tensors, **whole})
    assert {layer.alpha for layer in file.layers} == {3.0}
    assert {tensor.dtype for layer in file.layers for tensor in layer.tensors.values()} == {torch.bfloat16}


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (lambda key: not key.endswith("to_q.alpha"), "1 of 20 modules have no alpha"),
        (lambda key: "out_proj" not in key, "The text_encoder has no out_proj"),
    ],
)
def test_notes(change: Callable[[str], bool], note: str, draw: Draw, read: Callable[..., AdapterFile]) -> None:
    tensors = kohya.tensors(draw(), torch.float32)
    file = read({key: tensor for key, tensor in tensors.items() if change(key)})
    (said,) = file.notes
    assert said.startswith(note)


@pytest.mark.parametrize(
    ("module", "inputs", "family"),
    [
        ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k", 768, "sd15"),
        ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k", 1024, "sd2"),
        ("lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k", 2048, "sdxl"),
        ("lora_unet_down_blocks_1_attentions_0_transformer_blocks_1_attn1_to_k", 64, "sdxl"),
        ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q", 64, "sdxl"),
        ("lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q", 64, "sd15"),
        ("lora_te1_text_model_encoder_layers_0_self_attn_out_proj", 64, "sdxl"),
        ("lora_te_text_model_encoder_layers_0_self_attn_out_proj", 64, "sd15"),
        ("text_encoder_2.text_model.encoder.layers.0.self_attn.out_proj", 64, "sdxl"),
    ],
)
def test_families(module: str, inputs: int, family: str, read: Callable[..., AdapterFile]) -> None:
    down, up = ("lora_A.weight", "lora_B.weight") if "." in module else ("lora_down.weight", "lora_up.weight")
    assert read({f"{module}.{down}": torch.ones(2, inputs), f"{module}.{up}": torch.ones(8, 2)}).family == family


@pytest.mark.parametrize(("alpha", "dtype"), [(8.0, torch.bfloat16), (16 * 6**0.5, torch.float32)])
def test_alpha_is_not_rounded_to_the_type_of_small_files(
    alpha: float, dtype: torch.dtype, draw: Draw, read: Callable[..., AdapterFile]
) -> None:
    layers = [layer.with_tensors(layer.tensors, alpha) for layer in draw()]
    tensors = kohya.tensors(layers, torch.bfloat16)
    assert {tensor.dtype for key, tensor in tensors.items() if key.endswith(".alpha")} == {dtype}
    assert all(layer.alpha == pytest.approx(alpha, rel=1e-7) for layer in read(tensors).layers)
