"""One text encoder of a base model with its tokenizer: captions → tokens → words, and the caption as one vector.

Shapes: B captions, T tokens, D width of the words, P width of the pooled text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from trainer.errors import UserError
from trainer.families.components import Components


@dataclass(frozen=True)
class Encoded:
    """What one text encoder makes of captions, on its device."""

    words: Tensor
    """(B, T, D)"""
    pooled: Tensor | None = None
    """(B, P), of an encoder that projects the caption's end; else None."""


class TextEncoder:
    """A CLIP text encoder, loaded when first asked for; its tokens can be counted without it.

    `clip_skip` is the layer that is read, counted from the last, which is 1. With `normalized` the words go through the final
    layer norm, whichever layer they come from; with `pools` the network is one that projects the caption's end.
    """

    def __init__(
        self, components: Components, name: str, tokenizer: str, *, clip_skip: int, normalized: bool, pools: bool
    ) -> None:
        self.name, self.clip_skip = name, clip_skip
        self._components, self._tokenizer = components, tokenizer
        self._normalized, self._pools = normalized, pools
        layers = components.config(name).num_hidden_layers
        if clip_skip > layers:
            raise UserError(
                f"clip_skip is {clip_skip}, but the base model's {name} has {layers} layers; choose at most {layers}."
            )

    @property
    def folders(self) -> tuple[str, str]:
        """The components of a base model that it is made of."""
        return self.name, self._tokenizer

    @property
    def recipe(self) -> str:
        """All that decides, beside the components' content, what becomes of a caption."""
        return f"layer {self.clip_skip} from the end{', normalized' if self._normalized else ''}"

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

    @property
    def max_tokens(self) -> int:
        """T, the caption's start and end included."""
        length: int = self.tokenizer.model_max_length
        return length

    def count_tokens(self, caption: str) -> int:
        """Tokens of a caption, without its start and end."""
        return len(self.tokenizer(caption, add_special_tokens=False).input_ids)

    def tokens(self, captions: Sequence[str]) -> Tensor:
        """(B, T), padded, and cut where a caption is too long."""
        tokens: Tensor = self.tokenizer(
            list(captions), padding="max_length", max_length=self.max_tokens, truncation=True, return_tensors="pt"
        ).input_ids
        return tokens

    def encode(self, captions: Sequence[str]) -> Encoded:
        network, tokens = self.network, self.tokens(captions)
        if self.clip_skip == 1 and self._normalized and not self._pools:
            return Encoded(network(tokens.to(self._components.device))[0])
        out = network(tokens.to(self._components.device), output_hidden_states=True)
        words = out.hidden_states[-self.clip_skip]
        if self._normalized:
            # transformers 5 dropped `text_model` from the class without projection.
            words = getattr(network, "text_model", network).final_layer_norm(words)
        return Encoded(words, out.text_embeds if self._pools else None)


def most_tokens(encoders: Sequence[TextEncoder], caption: str) -> int:
    """Of all encoders' counts, the largest: what does not fit one encoder is lost."""
    return max(encoder.count_tokens(caption) for encoder in encoders)


def detached_copy(encoded: Encoded, place: int) -> dict[str, Tensor]:
    """One caption of those encoded, as plain tensors on the CPU, without a batch dimension."""
    tensors = {"words": encoded.words[place].detach().cpu()}
    if encoded.pooled is not None:
        tensors["pooled"] = encoded.pooled[place].detach().cpu()
    return tensors


def stacked(captions: Sequence[dict[str, Tensor]]) -> Encoded:
    """The batch of what `detached_copy` took apart."""
    words = torch.stack([tensors["words"] for tensors in captions])
    pooled = torch.stack([tensors["pooled"] for tensors in captions]) if "pooled" in captions[0] else None
    return Encoded(words, pooled)
