"""What an uploaded file is, told by the names and shapes in its header."""

from __future__ import annotations

from pathlib import Path

import pytest

from loramill import v1
from service.adapter_files import UnknownAdapter, examine
from service.safetensors_header import HeaderError, read_header, tensors_sha256
from tests.service.api.adapter_files import LORA, Shapes, framed, safetensors

KOHYA, DIFFUSERS = v1.ADAPTER_FORMAT_KOHYA, v1.ADAPTER_FORMAT_DIFFUSERS

LOCON: Shapes = LORA | {"lora_unet_c.lora_down.weight": (2, 8, 3, 3), "lora_unet_c.lora_up.weight": (8, 2, 1, 1)}
POINTWISE: Shapes = {"lora_unet_c.lora_down.weight": (2, 8, 1, 1), "lora_unet_c.lora_up.weight": (8, 2, 1, 1)}
TUCKER: Shapes = POINTWISE | {"lora_unet_c.lora_mid.weight": (2, 2, 3, 3)}
LOHA: Shapes = {
    "lora_unet_a.hada_w1_a": (8, 4),
    "lora_unet_a.hada_w1_b": (4, 8),
    "lora_unet_a.hada_w2_a": (8, 4),
    "lora_unet_a.hada_w2_b": (4, 8),
    "lora_unet_a.alpha": (),
}
FULL_LOKR: Shapes = {"lycoris_a.lokr_w1": (2, 2), "lycoris_a.lokr_w2": (4, 4), "lycoris_a.alpha": ()}
LOKR: Shapes = {"lora_unet_a.lokr_w1": (2, 2), "lora_unet_a.lokr_w2_a": (4, 3), "lora_unet_a.lokr_w2_b": (3, 4)}
LAYERS: Shapes = {"unet.a.lora.down.weight": (4, 8), "unet.a.lora.up.weight": (8, 4)}
LINEAR_LAYERS: Shapes = {
    "text_encoder.a.lora_linear_layer.down.weight": (3, 8),
    "text_encoder.a.lora_linear_layer.up.weight": (8, 3),
}
A_AND_B: Shapes = {"unet.a.lora_A.weight": (5, 8), "unet.a.lora_B.weight": (8, 5)}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.safetensors"


@pytest.mark.parametrize(
    ("shapes", "type_", "rank", "format_"),
    [
        (LORA, v1.ADAPTER_TYPE_LORA, 4, KOHYA),
        (POINTWISE, v1.ADAPTER_TYPE_LORA, 2, KOHYA),
        (LOCON, v1.ADAPTER_TYPE_LOCON, 4, KOHYA),
        (TUCKER, v1.ADAPTER_TYPE_LOCON, 2, KOHYA),
        (LOHA, v1.ADAPTER_TYPE_LOHA, 4, KOHYA),
        (LOKR, v1.ADAPTER_TYPE_LOKR, 3, KOHYA),
        (FULL_LOKR, v1.ADAPTER_TYPE_LOKR, 0, KOHYA),
        (LAYERS | LINEAR_LAYERS | A_AND_B, v1.ADAPTER_TYPE_LORA, 5, DIFFUSERS),
    ],
)
def test_names_and_shapes_say_what_it_is(
    path: Path, shapes: Shapes, type_: v1.AdapterType.ValueType, rank: int, format_: v1.AdapterFormat.ValueType
) -> None:
    path.write_bytes(safetensors(shapes, ss_network_dim="x"))
    found = examine(read_header(path))
    assert (found.type, found.rank, found.format) == (type_, rank, format_)


@pytest.mark.parametrize(
    ("shapes", "part"),
    [
        ({}, "has 0 tensors of no known kind"),
        ({"a.alpha": ()}, "of no known kind"),
        (LORA | {"lora_unet_a.oft_blocks": (2, 2)}, "has 1 tensors of no known kind ('lora_unet_a.oft_blocks')"),
        ({f"model.{n}.weight": (1,) for n in range(9)}, "('model.0.weight', 'model.1.weight', 'model.2.weight', …)"),
        (LORA | LOHA, "mixes dialects ('lora_te_b.lora_up.weight', 'lora_unet_a.hada_w2_b')"),
        (LORA | A_AND_B, "mixes dialects"),
        (LORA | {"lora_unet_a.dora_scale": (8, 1)}, "is a DoRA"),
        ({"base_model.model.a.lora_A.weight": (4, 8)}, "convert PEFT's directory"),
    ],
)
def test_what_is_no_known_adapter_is_named(path: Path, shapes: Shapes, part: str) -> None:
    path.write_bytes(safetensors(shapes))
    with pytest.raises(UnknownAdapter) as refused:
        examine(read_header(path))
    assert part in str(refused.value)


def entry(first: int, last: int, shape: list[int] | None = None) -> dict[str, object]:
    return {"dtype": "U8", "shape": [last - first] if shape is None else shape, "data_offsets": [first, last]}


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "header does not fit"),
        (b"\x80\x04\x95\x00\x00\x00\x00\x00" + b"a pickle", "header does not fit"),
        (b"PK\x03\x04" + bytes(4) + b"torch's zip", "header does not fit"),
        ((10**15).to_bytes(8, "little") + b"{}", "header does not fit"),
        ((1001).to_bytes(8, "little") + b"{" * 1001, "has a header of 1001 bytes, but at most 1000"),
        ((3).to_bytes(8, "little") + b"{{{", "header is not JSON"),
        ((1000).to_bytes(8, "little") + b"[" * 1000, "header is not JSON"),
        (framed([]), "header is not an object"),
        (framed({"a": 1}), "damaged entry for tensor 'a'"),
        (framed({"a": entry(0, 4, [2**40, 2**40])}, b"1234"), "damaged entry for tensor 'a'"),
        (framed({"a": entry(0, 4, [-4])}, b"1234"), "damaged entry for tensor 'a'"),
        (framed({"a": {"dtype": "PY", "shape": [4], "data_offsets": [0, 4]}}, b"1234"), "damaged entry"),
        (framed({"a": entry(4, 0, [0])}, b"1234"), "damaged entry for tensor 'a'"),
        (framed({"a": entry(0, 8)}, b"1234"), "is cut short"),
        (framed({"a": entry(0, 4), "b": entry(0, 4)}, b"1234"), "tensor 'b' in the place of another"),
        (framed({"a": entry(2, 4)}, b"1234"), "tensor 'a' in the place of another or behind a gap"),
        (framed({"a": entry(0, 2)}, b"1234"), "holds 4 bytes of tensors, but its header speaks of 2"),
    ],
)
def test_a_damaged_file_is_refused_by_its_header(path: Path, content: bytes, part: str) -> None:
    path.write_bytes(content)
    with pytest.raises(HeaderError) as refused:
        read_header(path, 1000)
    assert part in str(refused.value)


def test_the_digest_is_that_of_the_trainer_and_ignores_metadata(path: Path) -> None:
    # As trainer.formats.files.tensors_sha256 has it, of the same file loaded by the library safetensors.
    digest = "7fe025ff7416faf126c8d541266030abea103b793d86f316435e9474cdf64b03"
    for metadata in ({}, {"note": "x" * 100}):
        path.write_bytes(safetensors(LORA, **metadata))
        assert tensors_sha256(path, read_header(path)) == digest
