"""The tokenizer of CLIP (Radford et al. 2021), which all of sd15, sd2 and sdxl use: made from its merges, which come with us.

Byte-pair encoding over bytes that are written as printable characters, as GPT-2 does it (Radford et al. 2019): a token is a byte,
a byte that ends a word, or two tokens merged.
"""

from __future__ import annotations

import json
import lzma
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

MERGES = 48_894
MERGES_FILE = Path(__file__).parent / "vocabulary/clip_merges.txt.xz"

_END_OF_WORD = "</w>"
_START, _END = "<|startoftext|>", "<|endoftext|>"
_PRINTABLE = (*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1))
_FIRST_STAND_IN = 256
"""Code point of the character that stands for the first byte which cannot be printed; the others follow."""


def tokenizer_files(config: Mapping[str, Any]) -> dict[str, bytes]:
    """The files of a CLIPTokenizer by name; `config` is its `tokenizer_config.json`."""
    special = {name: config[name] for name in ("bos_token", "eos_token", "pad_token", "unk_token")}
    return {
        "vocab.json": _json(vocabulary()),
        "merges.txt": _merges_txt(),
        "tokenizer_config.json": _json(config),
        "special_tokens_map.json": _json(special),
    }


@cache
def vocabulary() -> Mapping[str, int]:
    """Tokens and their numbers: 49,408 of them."""
    stand_ins = map(chr, range(_FIRST_STAND_IN, 2 * _FIRST_STAND_IN - len(_PRINTABLE)))
    characters = [*map(chr, _PRINTABLE), *stand_ins]
    merged = ["".join(line.split(" ")) for line in _merges_txt().decode().splitlines()[1:]]
    tokens = [*characters, *(character + _END_OF_WORD for character in characters), *merged, _START, _END]
    return {token: number for number, token in enumerate(tokens)}


@cache
def _merges_txt() -> bytes:
    return lzma.decompress(MERGES_FILE.read_bytes())


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
