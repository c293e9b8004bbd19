"""How the text encoders of a base model split captions into tokens, by the tokenizer files of its record. Synchronous: called in
threads.

The library `tokenizers` is what transformers splits with, too: the same files give the same tokens here and in a trainer.
"""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE

from loramill import v1
from service import keys
from service.bases import Bases, base_id
from service.errors import InvalidRequest, Refused, Violation

CHUNK = 75
"""Tokens of a caption that a text encoder reads at once, beside start and end."""
LIMITS = (75, 150, 225)
"""What a job may read of a caption, in tokens."""

_LONGEST_CAPTION = 10_000
_ENCODERS = {"text_encoder": "tokenizer", "text_encoder_2": "tokenizer_2"}
"""Text encoders, and the folders of their tokenizers."""
_FRAME = ("<|startoftext|>", "<|endoftext|>")
"""Start and end, which a caption may spell out."""
_KEPT = 8
"""Tokenizers that stay in memory: some 10 MB each at CLIP's size."""
_CLIP_PIECES = r"""<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""
"""What CLIP takes for words (Radford et al., arXiv 2103.00020, in the code released with it)."""


@dataclass(frozen=True)
class CaptionTokens:
    """Inspects captions; keeps the tokenizers that were used last."""

    bases: Bases
    _loaded: OrderedDict[tuple[str, str], Tokenizer] = field(default_factory=OrderedDict)
    _lock: Lock = field(default_factory=Lock)

    def inspect(self, request: v1.InspectTokensRequest) -> v1.InspectTokensResponse:
        """Raises InvalidRequest, ResourceNotFound, and Refused for a base model without a tokenizer."""
        base = base_id(request.name)
        found = list(_violations(request))
        if found:
            raise InvalidRequest(found)
        model, most = self.bases.get(base), request.max_tokens or CHUNK
        folder = keys.BaseKeys(base).files
        names = {entry.key.removeprefix(folder) for entry in self.bases.store.list(f"{folder}tokenizer")}
        encoders = [
            _inspected(encoder, self._tokenizer(model, base, part, names), request.caption, most)
            for encoder, part in _ENCODERS.items()
            if any(name.startswith(f"{part}/") for name in names)
        ]
        if not encoders:
            raise Refused(f"{request.name} has no tokenizer of captions; name a base model that can be trained on.")
        return v1.InspectTokensResponse(encoders=encoders)

    def _tokenizer(self, model: v1.BaseModel, base: str, part: str, names: set[str]) -> Tokenizer:
        key = model.digest, part
        with self._lock:
            if key not in self._loaded:
                self._loaded[key] = self._read(keys.BaseKeys(base).files, part, names)
            self._loaded.move_to_end(key)
            while len(self._loaded) > _KEPT:
                self._loaded.popitem(last=False)
            return self._loaded[key]

    def _read(self, folder: str, part: str, names: set[str]) -> Tokenizer:
        if f"{part}/tokenizer.json" in names:
            tokenizer = Tokenizer.from_str(self.bases.store.get(f"{folder}{part}/tokenizer.json").decode())
        else:
            vocabulary: dict[str, int] = json.loads(self.bases.store.get(f"{folder}{part}/vocab.json"))
            tokenizer = clip_tokenizer(vocabulary, self.bases.store.get(f"{folder}{part}/merges.txt").decode())
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer


def clip_tokenizer(vocabulary: dict[str, int], merges: str) -> Tokenizer:
    """CLIP's byte-pair encoding of this vocabulary; `merges` as in `merges.txt`, a pair a line below a line of its version."""
    pairs = [(first, second) for first, second in (line.split() for line in merges.splitlines()[1:] if line)]
    model: Any = BPE(vocab=vocabulary, merges=pairs, end_of_word_suffix="</w>", unk_token="<|endoftext|>")
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_CLIP_PIECES), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.add_special_tokens([token for token in _FRAME if token in vocabulary])
    return tokenizer


def _inspected(encoder: str, tokenizer: Tokenizer, caption: str, most: int) -> v1.EncoderTokens:
    try:
        encoding = tokenizer.encode(caption, add_special_tokens=False)
    except Exception as error:  # the library raises nothing more precise
        raise Refused(
            f"The tokenizer of {encoder} cannot split this caption ({error}); import a base model with CLIP's whole vocabulary."
        ) from error
    tokens = [
        v1.Token(id=number, piece=piece, text=caption[start:end], chunk=place // CHUNK + 1 if place < most else 0)
        for place, (number, piece, (start, end)) in enumerate(
            zip(encoding.ids, encoding.tokens, encoding.offsets, strict=True)
        )
    ]
    read = min(len(tokens), most)
    return v1.EncoderTokens(
        encoder=encoder, tokens=tokens, chunks=max(1, math.ceil(read / CHUNK)), cut=len(tokens) - read
    )


def _violations(request: v1.InspectTokensRequest) -> Iterator[Violation]:
    if len(request.caption) > _LONGEST_CAPTION:
        text = f"caption has {len(request.caption)} characters, but must have at most {_LONGEST_CAPTION}; shorten it."
        yield Violation("caption", text)
    if request.max_tokens and request.max_tokens not in LIMITS:
        text = f"max_tokens is {request.max_tokens}, but must be 75, 150 or 225; choose one of them, or leave it out."
        yield Violation("max_tokens", text)
