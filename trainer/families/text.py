"""One text encoder of a base model with its tokenizer: captions → tokens → words, and the caption as one vector.

A caption is read in chunks (`trainer.text.chunks`); what becomes of them is laid end to end, and captions of one batch that have
fewer chunks than others are repeated up to a common length, which changes nothing for attention. The caption as one vector is
that of its first chunk, as ComfyUI and kohya's trainer have it.

Shapes: B captions, C chunks of all of them, T tokens of the longest, D width of the words, P width of the pooled text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainer.errors import UserError
from trainer.families.components import Components
from trainer.text.chunks import ROOM, chunked, common_length
from trainer.text.new_tokens import NewTokens


@dataclass(frozen=True)
class Encoded:
    """What one text encoder makes of captions, on its device."""

    words: Tensor
    """(B, T, D)"""
    pooled: Tensor | None = None
    """(B, P), of an encoder that projects the caption's end; else None."""
    chunks: tuple[int, ...] = ()
    """Of each caption, before it was repeated."""


class TextEncoder:
    """A CLIP text encoder, loaded when first asked for; its tokens can be counted without it.

    `clip_skip` is the layer that is read, counted from the last, which is 1. With `normalized` the words go through the final
    layer norm, whichever layer they come from; with `pools` the network is one that projects the caption's end.
    """

    most = ROOM
    """Tokens of a caption that are read, without starts and ends."""
    new_tokens: NewTokens | None = None
    """Tokens that the tokenizer does not know, for tags that captions are to be read with."""

    def __init__(
        self, components: Components, name: str, tokenizer: str, *, clip_skip: int, normalized: bool, pools: bool
    ) -> None:
        self.name, self.clip_skip = name, clip_skip
        self._components, self._tokenizer = components, tokenizer
        self._normalized, self._pools = normalized, pools
        config = components.config(name)
        layers = config.num_hidden_layers
        if clip_skip > layers:
            raise UserError(
                f"clip_skip is {clip_skip}, but the base model's {name} has {layers} layers; choose at most {layers}."
            )
        if config.max_position_embeddings != ROOM + 2:
            raise UserError(
                f"The base model's {name} reads {config.max_position_embeddings} tokens at once, but CLIP's read {ROOM + 2}; "
                "use another base model."
            )

    @property
    def folders(self) -> tuple[str, str]:
        """The components of a base model that it is made of."""
        return self.name, self._tokenizer

    @property
    def recipe(self) -> str:
        """All that decides, beside the components' content, what becomes of a caption."""
        longer = f", up to {self.most} tokens" if self.most > ROOM else ""
        return f"layer {self.clip_skip} from the end{', normalized' if self._normalized else ''}{longer}"

    @property
    def tokenizer(self) -> Any:
        return self._components.tokenizer(self._tokenizer)

    @property
    def network(self) -> Any:
        return self._components.network(self.name)

    @property
    def width(self) -> int:
        """D."""
        width: int = self._components.config(self.name).hidden_size
        return width

    def count_tokens(self, caption: str) -> int:
        """Tokens of a caption, without its start and end."""
        return len(self.token_ids(caption))

    def token_ids(self, caption: str) -> list[int]:
        """The caption's tokens, without its start and end; new tokens have ids below 0."""
        if self.new_tokens is not None:
            return self.new_tokens.token_ids(caption, self._known_ids)
        return self._known_ids(caption)

    def _known_ids(self, caption: str) -> list[int]:
        ids: list[int] = self.tokenizer(caption, add_special_tokens=False).input_ids
        return ids

    def _chunks(self, caption: str) -> list[list[int]]:
        tokenizer = self.tokenizer
        return chunked(
            self.token_ids(caption),
            self.most,
            start=tokenizer.bos_token_id,
            end=tokenizer.eos_token_id,
            padding=tokenizer.pad_token_id,
        )

    def encode(self, captions: Sequence[str]) -> Encoded:
        by_caption = [self._chunks(caption) for caption in captions]
        words, pooled = self._read(torch.tensor([chunk for chunks in by_caption for chunk in chunks]))
        counts = tuple(len(chunks) for chunks in by_caption)
        if max(counts) == 1:
            return Encoded(words, pooled, counts)
        firsts = [sum(counts[:place]) for place in range(len(counts))]
        return Encoded(
            _of_one_length([part.flatten(0, 1) for part in torch.split(words, list(counts))]),
            None if pooled is None else pooled[firsts],
            counts,
        )

    def _read(self, tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the network makes of chunks (C, 77): words (C, 77, D) and each chunk as one vector (C, P)."""
        network, tokens = self.network, tokens.to(self._components.device)
        if self.clip_skip == 1 and self._normalized and not self._pools:
            return network(tokens)[0], None
        out = network(tokens, output_hidden_states=True)
        words = out.hidden_states[-self.clip_skip]
        if self._normalized:
            # transformers 5 dropped `text_model` from the class without projection.
            words = getattr(network, "text_model", network).final_layer_norm(words)
        return words, out.text_embeds if self._pools else None


def most_tokens(encoders: Sequence[TextEncoder], caption: str) -> int:
    """Of all encoders' counts, the largest: what does not fit one encoder is lost."""
    return max(encoder.count_tokens(caption) for encoder in encoders)


def detached_copy(encoded: Encoded, place: int) -> dict[str, Tensor]:
    """One caption of those encoded, as plain tensors on the CPU, without a batch dimension, and not repeated."""
    length = encoded.chunks[place] * (ROOM + 2)
    tensors = {"words": encoded.words[place, :length].detach().cpu()}
    if encoded.pooled is not None:
        tensors["pooled"] = encoded.pooled[place].detach().cpu()
    return tensors


def stacked(captions: Sequence[dict[str, Tensor]]) -> Encoded:
    """The batch of what `detached_copy` took apart."""
    pooled = torch.stack([tensors["pooled"] for tensors in captions]) if "pooled" in captions[0] else None
    counts = tuple(len(tensors["words"]) // (ROOM + 2) for tensors in captions)
    return Encoded(_of_one_length([tensors["words"] for tensors in captions]), pooled, counts)


def of_one_length(*texts: Tensor) -> list[Tensor]:
    """Batches of words (B, T, D), each repeated to the length that they have in common."""
    length = common_length([text.shape[-2] for text in texts])
    return [text if text.shape[-2] == length else text.repeat(1, length // text.shape[-2], 1) for text in texts]


def _of_one_length(captions: Sequence[Tensor]) -> Tensor:
    """(B, T, D) of captions (T, D) of several lengths."""
    return torch.cat(of_one_length(*(words.unsqueeze(0) for words in captions)))
