"""What an adapter's file from elsewhere is: its type, rank and dialect, found from the names and shapes of its tensors. Pure.

Names are those that kohya's scripts, LyCORIS and diffusers write. The trainer reads the tensors themselves, and holds them
against the base model.
"""

from __future__ import annotations

from dataclasses import dataclass

from loramill import v1
from service.safetensors_header import Header

_KOHYA, _DIFFUSERS = v1.ADAPTER_FORMAT_KOHYA, v1.ADAPTER_FORMAT_DIFFUSERS
_LORA, _LOHA, _LOKR = v1.ADAPTER_TYPE_LORA, v1.ADAPTER_TYPE_LOHA, v1.ADAPTER_TYPE_LOKR

_SHOWN = 3
"""Names that a sentence gives as examples."""


@dataclass(frozen=True)
class _Suffix:
    """What the end of a tensor's name says."""

    type: v1.AdapterType.ValueType
    format: v1.AdapterFormat.ValueType
    has_rank: bool = False
    """Whether the tensor's first side is the rank."""


_SUFFIXES = {
    ".lora_down.weight": _Suffix(_LORA, _KOHYA, has_rank=True),
    ".lora_mid.weight": _Suffix(_LORA, _KOHYA),
    ".lora_up.weight": _Suffix(_LORA, _KOHYA),
    ".lora.down.weight": _Suffix(_LORA, _DIFFUSERS, has_rank=True),
    ".lora.up.weight": _Suffix(_LORA, _DIFFUSERS),
    ".lora_linear_layer.down.weight": _Suffix(_LORA, _DIFFUSERS, has_rank=True),
    ".lora_linear_layer.up.weight": _Suffix(_LORA, _DIFFUSERS),
    ".lora_A.weight": _Suffix(_LORA, _DIFFUSERS, has_rank=True),
    ".lora_B.weight": _Suffix(_LORA, _DIFFUSERS),
    ".hada_w1_a": _Suffix(_LOHA, _KOHYA),
    ".hada_w1_b": _Suffix(_LOHA, _KOHYA, has_rank=True),
    ".hada_w2_a": _Suffix(_LOHA, _KOHYA),
    ".hada_w2_b": _Suffix(_LOHA, _KOHYA, has_rank=True),
    ".hada_t1": _Suffix(_LOHA, _KOHYA),
    ".hada_t2": _Suffix(_LOHA, _KOHYA),
    ".lokr_w1": _Suffix(_LOKR, _KOHYA),
    ".lokr_w1_a": _Suffix(_LOKR, _KOHYA),
    ".lokr_w1_b": _Suffix(_LOKR, _KOHYA, has_rank=True),
    ".lokr_w2": _Suffix(_LOKR, _KOHYA),
    ".lokr_w2_a": _Suffix(_LOKR, _KOHYA),
    ".lokr_w2_b": _Suffix(_LOKR, _KOHYA, has_rank=True),
    ".lokr_t2": _Suffix(_LOKR, _KOHYA),
}
_ALPHA = ".alpha"
_DORA = ".dora_scale"
_PEFT = "base_model.model."


class UnknownAdapter(Exception):
    """Not the file of an adapter that can be gone on from. The message is the rest of a sentence that begins with its name."""


@dataclass(frozen=True)
class FoundAdapter:
    """What the names and shapes say."""

    type: v1.AdapterType.ValueType
    """LORA, LOCON (a LoRA with larger convolutions), LOHA or LOKR."""
    rank: int
    """The largest of all layers; 0 for a LoKr of full matrices."""
    format: v1.AdapterFormat.ValueType


def examine(header: Header) -> FoundAdapter:
    """Raises UnknownAdapter."""
    _refuse_known_others(header)
    suffixes = {name: suffix for name in header.tensors if (suffix := _suffix_of(name)) is not None}
    unknown = [name for name in header.tensors if name not in suffixes and not name.endswith(_ALPHA)]
    if unknown or not suffixes:
        raise UnknownAdapter(
            f"has {len(unknown)} tensors of no known kind{_examples(unknown)}; upload a LoRA, LoCon, LoHa or LoKr as kohya's "
            "scripts, LyCORIS or diffusers write it"
        )
    kinds = {(suffix.type, suffix.format): name for name, suffix in suffixes.items()}
    if len(kinds) > 1:
        raise UnknownAdapter(
            f"mixes dialects{_examples(list(kinds.values()))}; upload a file of one type in one dialect"
        )
    (found, format_), _ = kinds.popitem()
    if found == _LORA and any(_is_spatial(name, header) for name in suffixes):
        found = v1.ADAPTER_TYPE_LOCON
    ranks = (header.tensors[name].shape[:1] for name, suffix in suffixes.items() if suffix.has_rank)
    return FoundAdapter(found, max((side for shape in ranks for side in shape), default=0), format_)


def _refuse_known_others(header: Header) -> None:
    if any(name.startswith(_PEFT) for name in header.tensors):
        raise UnknownAdapter(
            "is PEFT's file, whose alpha stands in a file beside it; convert PEFT's directory to kohya's format and upload that"
        )
    if any(name.endswith(_DORA) for name in header.tensors):
        raise UnknownAdapter("is a DoRA (it has dora_scale), which is not supported; upload an adapter without it")


def _suffix_of(name: str) -> _Suffix | None:
    """What the name's end says, the longest end first: `.lora.down.weight`."""
    parts = name.split(".")
    ends = ("." + ".".join(parts[place:]) for place in range(max(1, len(parts) - 3), len(parts)))
    return next((_SUFFIXES[end] for end in ends if end in _SUFFIXES), None)


def _is_spatial(name: str, header: Header) -> bool:
    """Whether a tensor of a LoRA belongs to a convolution larger than 1x1."""
    shape = header.tensors[name].shape
    return len(shape) == 4 and max(shape[2:]) > 1


def _examples(names: list[str]) -> str:
    if not names:
        return ""
    shown = ", ".join(repr(name[:80]) for name in sorted(names)[:_SHOWN])
    return f" ({shown}{', …' if len(names) > _SHOWN else ''})"
