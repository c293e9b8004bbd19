"""Files that are no adapter, or are broken, or were made to do harm: refused in sentences, before a number of theirs is read."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from trainer.errors import UserError
from trainer.formats.archive import packed
from trainer.formats.opening import LARGEST_HEADER, Opened
from trainer.formats.reading import read_adapter

MODULE = "lora_unet_down_blocks_0_attentions_0_proj_in"
CONV = "lora_unet_mid_block_resnets_0_conv1"
LORA = {
    f"{MODULE}.lora_down.weight": torch.ones(2, 8),
    f"{MODULE}.lora_up.weight": torch.ones(16, 2),
    f"{MODULE}.alpha": torch.tensor(2.0),
}
ENTRY = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}


def raw(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    """A file of this header, JSON or bytes, that may lie about its length."""
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(content) if length is None else length).to_bytes(8, "little") + content + data


def pickled() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}q\x00.")
    return buffer.getvalue()


def refusal(path: Path) -> UserError:
    with pytest.raises(UserError) as caught:
        read_adapter(path)
    for problem in caught.value.problems:
        assert problem.endswith(".")
        assert len(problem) < 700
    return caught.value


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tensor may be read."""

    def read(*_: object) -> Mapping[str, Tensor]:
        raise AssertionError("tensors are read before the header was found sound")

    monkeypatch.setattr(Opened, "tensors", read)


NOT_SOUND: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "is empty"),
    "cut within its length": (b"\x10\x00", "no sound safetensors file"),
    "cut within its header": (raw({"a": ENTRY})[:20], "no sound safetensors file"),
    "cut within its numbers": (save(LORA)[:-4], "no sound safetensors file"),
    "longer than its header says": (save(LORA) + b"\0", "no sound safetensors file"),
    "a header as large as memory": (raw(b"{}", length=2**62), "a header of 4611686018427387904 bytes"),
    "a header past the limit": (raw(b" " * (LARGEST_HEADER + 1)), f"at most {LARGEST_HEADER} are read"),
    "a header that is not JSON": (raw(b"{'a': 1}"), "no sound safetensors file"),
    "a header that is not text": (raw(b"\xff\xfe\xfd\xfc"), "no sound safetensors file"),
    "a header of a list": (raw([1, 2]), "no sound safetensors file"),
    "a deep header": (raw(b'{"a":' + b"[" * 100_000), "no sound safetensors file"),
    "an entry of another form": (raw({"a": 3}), "no sound safetensors file"),
    "a type that is not known": (raw({"a": {**ENTRY, "dtype": "F31"}}, bytes(16)), "no sound safetensors file"),
    "a negative side": (raw({"a": {**ENTRY, "shape": [-2, -2]}}, bytes(16)), "no sound safetensors file"),
    "sides whose product overflows": (raw({"a": {**ENTRY, "shape": [2**33, 2**33]}}), "no sound safetensors file"),
    "a tensor larger than the file": (
        raw({"a": {**ENTRY, "shape": [2**20, 2**20], "data_offsets": [0, 2**42]}}, bytes(16)),
        "no sound safetensors file",
    ),
    "offsets behind the end": (raw({"a": {**ENTRY, "data_offsets": [16, 32]}}, bytes(16)), "no sound safetensors file"),
    "offsets backwards": (raw({"a": {**ENTRY, "data_offsets": [16, 0]}}, bytes(16)), "no sound safetensors file"),
    "tensors that overlap": (raw({"a": ENTRY, "b": ENTRY}, bytes(16)), "no sound safetensors file"),
    "a gap": (raw({"a": ENTRY, "b": {**ENTRY, "data_offsets": [20, 36]}}, bytes(36)), "no sound safetensors file"),
    "metadata that is not text": (raw({"__metadata__": {"a": 1}, "a": ENTRY}, bytes(16)), "no sound safetensors file"),
    "a zip": (pickled(), "is a zip, as torch.save writes it"),
    "a pickle": (b"\x80\x02}q\x00X\x05\x00\x00\x00lorasq\x01K\x01s.", "is a pickle"),
    "a page of the web": (b"<!DOCTYPE html><html><body>404</body></html>", "no sound safetensors file"),
}


@pytest.mark.parametrize("case", NOT_SOUND)
@pytest.mark.usefixtures("unread")
def test_no_sound_file(case: str, tmp_path: Path) -> None:
    content, sentence = NOT_SOUND[case]
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    (problem,) = refusal(path).problems
    assert "a.safetensors" in problem
    assert sentence in problem


@pytest.mark.parametrize("name", ["a.ckpt", "a.pt", "a.bin", "A.PTH", "a.pkl"])
def test_pickles_are_refused_by_name(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(save(LORA))
    assert "is a pickle by its name" in str(refusal(tmp_path / name))


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    assert "cannot be read" in str(refusal(tmp_path / "b.safetensors"))


def _without(*endings: str) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in LORA.items() if not key.endswith(endings)}


def _hada(module: str = MODULE, **shapes: tuple[int, ...]) -> dict[str, Tensor]:
    usual = {"w1_a": (16, 2), "w1_b": (2, 8), "w2_a": (16, 2), "w2_b": (2, 8)}
    return {f"{module}.hada_{name}": torch.ones(shape) for name, shape in {**usual, **shapes}.items()}


def _lora(
    down: tuple[int, ...], up: tuple[int, ...], module: str = MODULE, **more: tuple[int, ...]
) -> dict[str, Tensor]:
    shapes = {"down": down, "up": up, **more}
    return {f"{module}.lora_{name}.weight": torch.ones(shape) for name, shape in shapes.items()}


def _lokr(module: str = MODULE, **shapes: tuple[int, ...]) -> dict[str, Tensor]:
    return {f"{module}.lokr_{name}": torch.ones(shape) for name, shape in shapes.items()}


NO_ADAPTER: dict[str, tuple[dict[str, Tensor], str]] = {
    "a checkpoint of one file": ({"model.diffusion_model.out.2.weight": torch.ones(4, 4)}, "holds no adapter: none of its 1"),
    "a UNet": ({"conv_in.weight": torch.ones(4, 4), "conv_in.bias": torch.ones(4)}, "holds no adapter: none of its 2"),
    "an embedding": ({"emb_params": torch.ones(4, 8)}, "holds no adapter"),
    "no tensors": ({}, "holds no adapter"),
    "no up": (_without("lora_up.weight"), f"Module {MODULE} lacks lora_up beside lora_down"),
    "no down": (_without("lora_down.weight"), f"Module {MODULE} lacks lora_down beside lora_up"),
    "an alpha alone": (LORA | {f"{CONV}.alpha": torch.tensor(1.0)}, f"Module {CONV} has an alpha and no other tensor"),
    "an alpha for no layer": (LORA | {"lora_unet_x.alpha": torch.tensor(1.0)}, "1 modules belong to no layer"),
    "an alpha of two numbers": (LORA | {f"{MODULE}.alpha": torch.ones(2)}, f"{MODULE}.alpha has the shape (2,)"),
    "whole numbers": (LORA | {f"{MODULE}.lora_up.weight": torch.ones(16, 2, dtype=torch.int32)}, "is of type I32"),
    "numbers of eight bits": (
        LORA | {f"{MODULE}.lora_up.weight": torch.ones(16, 2).to(torch.float8_e4m3fn)},
        "lora_up.weight is of type F8_E4M3",
    ),
    "ranks that contradict each other": (_lora((2, 8), (16, 4)), "lora_down (2, 8), lora_up (16, 4)"),
    "sides that contradict each other": (_lora((2, 8), (16, 2, 1, 1)), "shapes do not fit together"),
    "a rank of nothing": (_lora((0, 8), (16, 0)), "has the shape (0, 8)"),
    "tensors with five sides": (_lora((2, 8, 1, 1, 1), (16, 2, 1, 1, 1)), "(2, 8, 1, 1, 1)"),
    "a kernel that no such layer has": (_lora((2, 8, 5, 5), (16, 2, 1, 1), CONV), "has the kernel 5x5, but"),
    "a linear layer for a convolution": (_lora((2, 8), (16, 2), CONV), "has the kernel of a linear layer, but"),
    "a core of another rank": (_lora((2, 8, 1, 1), (16, 2, 1, 1), CONV, mid=(3, 3, 3, 3)), "lora_mid (3, 3, 3, 3)"),
    "a core where there is no kernel": (_lora((2, 8, 1, 1), (16, 2, 1, 1), mid=(2, 2, 1, 1)), "lora_mid (2, 2, 1, 1)"),
    "half a LoHa": (_hada(w2_a=(8, 2)), "hada_w2_a (8, 2)"),
    "a LoHa with one core": (_hada(CONV, t1=(2, 2, 3, 3)), "lacks hada_t2 beside"),
    "a LoHa's columns": (_hada(CONV), "hada_w1_b with 8 columns, which must be a multiple of 9"),
    "a LoKr without its large factor": (_lokr(w1=(2, 2)), "lacks lokr_w2_a and lokr_w2_b beside lokr_w1"),
    "a LoKr with two small factors": (_lokr(w1=(2, 2), w1_a=(2, 1), w2=(4, 4)), "has lokr_w1_a, which do not belong beside"),
    "a LoKr of any size": (_lokr(w1=(30_000, 1), w2=(30_000, 1)), "900000000 x 1, which no base model has"),
    "two types in one module": (LORA | _hada(), f"Module {MODULE} has tensors of 2 adapter types (hada, lora)"),
    "DoRA": (LORA | {f"{MODULE}.dora_scale": torch.ones(1, 8)}, "a type that is not supported, DoRA"),
    "OFT": ({f"{MODULE}.oft_blocks": torch.ones(2, 4, 4)}, "a type that is not supported, OFT"),
    "an ending that nobody knows": (LORA | {f"{MODULE}.lora_side.weight": torch.ones(2)}, "1 keys are of no known adapter"),
    "another architecture": (
        _lora((2, 8), (16, 2), "lora_unet_double_blocks_0_img_attn_qkv"),
        "1 modules belong to no layer of SD1.5's or SDXL's networks: lora_unet_double_blocks_0_img_attn_qkv.",
    ),
    "a number of any length": (
        _lora((2, 8), (16, 2), f"lora_unet_input_blocks_{'9' * 5000}_0_op"),
        "1 modules belong to no layer of SD1.5's or SDXL's networks: lora_unet_input_blocks_99999",
    ),
    "a name with a line of its own": (LORA | {"x\nall is well": torch.ones(2)}, "of no known adapter: 'x\\nall is well'."),
    "two dialects": (
        LORA | {"unet.conv_in.lora_A.weight": torch.ones(2, 4, 3, 3)},
        f"mixes the keys of 2 dialects: kohya ({MODULE}.alpha), diffusers (unet.conv_in.lora_A.weight)",
    ),
    "a layer in two spellings": (
        _lora((2, 8), (16, 2), "lora_unet_down_blocks_1_attentions_0_proj_in")
        | _lora((2, 8), (16, 2), "lora_unet_input_blocks_4_1_proj_in"),
        "2 tensors are there twice, in two spellings",
    ),
    "PEFT's tensors without their configuration": (
        {"base_model.model.conv_in.lora_A.weight": torch.ones(2, 4, 3, 3)},
        "no adapter_config.json",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", NO_ADAPTER)
@pytest.mark.usefixtures("unread")
def test_no_whole_adapter(case: str, tmp_path: Path) -> None:
    tensors, sentence = NO_ADAPTER[case]
    path = tmp_path / "a.safetensors"
    path.write_bytes(save(tensors))
    assert sentence in str(refusal(path))


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_numbers_that_are_none(broken: float, tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(save(LORA | {f"{MODULE}.lora_up.weight": torch.full((16, 2), broken)}))
    problem = refusal(tmp_path / "a.safetensors").problems[-1]
    assert problem.startswith(f"1 tensors hold NaN or infinity: {MODULE}.lora_up.weight")


def test_everything_is_said_at_once_but_not_at_any_length(tmp_path: Path) -> None:
    modules = [f"lora_unet_down_blocks_{n}_attentions_0_proj_in" for n in range(40)]
    tensors = {key: tensor for module in modules for key, tensor in _lora((2, 8), (16, 4), module).items()}
    strange = {f"lora_unet_x{n}.lora_up.weight": torch.ones(2, 2) for n in range(1000)}
    (tmp_path / "a.safetensors").write_bytes(save(tensors | strange))
    problems = refusal(tmp_path / "a.safetensors").problems
    assert problems[0] == "a.safetensors cannot be used as an adapter."
    assert problems[1].startswith("1000 modules belong to no layer")
    assert problems[1].endswith("and 995 more.")
    assert problems[-1] == "21 problems more are not shown."
    assert len(problems) == 22


CONFIGS: dict[str, tuple[str, str]] = {
    "not JSON": ("{", "is not JSON"),
    "a deep one": ("[" * 100_000, "is not JSON"),
    "a list": ("[]", "is no object"),
    "another type": ('{"peft_type": "IA3", "r": 1, "alpha": 1}', "is of PEFT's type 'IA3'"),
    "DoRA": ('{"peft_type": "LORA", "r": 1, "lora_alpha": 1, "use_dora": true}', "is of a DoRA"),
    "no rank": ('{"peft_type": "LORA", "lora_alpha": 1}', "has r None, which must be a number"),
    "a rank of nothing": ('{"peft_type": "LORA", "r": 0, "lora_alpha": 1}', "has r 0"),
    "an alpha of words": ('{"peft_type": "LOHA", "r": 1, "alpha": "much"}', "has alpha 'much'"),
    "an alpha that is none": ('{"peft_type": "LOHA", "r": 1, "alpha": NaN}', "has alpha nan"),
    "a rank past all numbers": ('{"peft_type": "LORA", "r": 1' + "0" * 400 + ', "lora_alpha": 1}', "has r 10000"),
    "a pattern that takes for ever": (
        '{"peft_type": "LORA", "r": 1, "lora_alpha": 1, "rank_pattern": {"(a+)+b": 2}}',
        "has a rank_pattern for '(a+)+b', which is not the name of a layer",
    ),
    "a pattern of words": (
        '{"peft_type": "LORA", "r": 1, "lora_alpha": 1, "alpha_pattern": {"proj_in": "x"}}',
        "has a alpha_pattern for 'proj_in' whose value is no number",
    ),
    "patterns that are none": ('{"peft_type": "LORA", "r": 1, "lora_alpha": 1, "alpha_pattern": [1]}', "that is no object"),
}  # fmt: skip


@pytest.mark.parametrize("case", CONFIGS)
@pytest.mark.usefixtures("unread")
def test_peft_configurations(case: str, tmp_path: Path) -> None:
    config, sentence = CONFIGS[case]
    module = "base_model.model.conv_in"
    tensors = {f"{module}.lora_A.weight": torch.ones(2, 4, 3, 3), f"{module}.lora_B.weight": torch.ones(8, 2, 1, 1)}
    (tmp_path / "adapter_model.safetensors").write_bytes(save(tensors))
    (tmp_path / "adapter_config.json").write_text(config)
    assert sentence in str(refusal(tmp_path))


def test_a_folder_without_an_adapter(tmp_path: Path) -> None:
    assert "holds no adapter_model.safetensors" in str(refusal(tmp_path))


def _deflated(path: Path, size: int) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("unet/adapter_model.safetensors", bytes(size))


ZIPS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no zip": (lambda path: path.write_bytes(b"PK\x03\x04"), "is no sound zip"),
    "a bomb": (lambda path: _deflated(path, 10_000), "only uncompressed zips are read"),
    "a small one that is compressed": (lambda path: _deflated(path, 10), "only uncompressed zips are read"),
    "a pickle": (lambda path: path.write_bytes(pickled()), "'archive/data.pkl', which does not belong to an adapter"),
    "a way out": (lambda path: packed({"../evil.json": b"{}"}, path), "'../evil.json', which does not belong"),
    "a root": (lambda path: packed({"/evil.json": b"{}"}, path), "'/evil.json', which does not belong"),
    "many files": (lambda path: packed({f"{n}.json": b"{}" for n in range(100)}, path), "holds more than its size allows"),
    "no adapter": (lambda path: packed({"a.json": b"{}"}, path), "holds no adapter_model.safetensors"),
}  # fmt: skip


@pytest.mark.parametrize("case", ZIPS)
@pytest.mark.usefixtures("unread")
def test_zips(case: str, tmp_path: Path) -> None:
    write, sentence = ZIPS[case]
    write(tmp_path / "a.peft.zip")
    assert sentence in str(refusal(tmp_path / "a.peft.zip"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.peft.zip"]
