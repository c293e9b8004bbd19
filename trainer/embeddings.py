"""Captions as the UNet sees them: encoded once by each frozen text encoder, or in every step by one that is trained."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from trainer.cache import Cache
from trainer.families.base import Base, Conditioning
from trainer.families.text import Encoded, TextEncoder, detached_copy, most_tokens, stacked
from trainer.tensor_file import TensorFile

ON_DEVICE = 256 << 20
"""Bytes of embeddings that stay on the device; those beyond wait on the local disk (SD1.5: about a thousand captions fit)."""


class Words:
    """Conditionings of captions, on the device.

    What a frozen encoder makes of a caption is made once, of it alone, so that its numbers do not depend on its neighbours.
    `digests` are of each encoder's own files, by name; `trained` are the names of those that are trained. What does not
    fit ON_DEVICE lies in a file in the folder `work`.
    """

    def __init__(
        self,
        base: Base,
        cache: Cache,
        *,
        digests: Mapping[str, str],
        fingerprint: str,
        trained: Collection[str],
        work: Path | None = None,
    ) -> None:
        self._base, self._cache, self._trained = base, cache, trained
        self._digests, self._fingerprint = digests, fingerprint
        self._on_disk: TensorFile[tuple[str, str]] = TensorFile(work)
        self._on_device: dict[tuple[str, str], dict[str, Tensor]] = {}
        self._bytes_on_device = 0

    @property
    def trained(self) -> Collection[str]:
        """Names of the encoders that are asked in every step."""
        return self._trained

    def prepare(
        self, captions: Iterable[str], of_the_base: Iterable[str], progress: Callable[[int, int], None]
    ) -> None:
        """Has the base encode captions ahead of training, through the cache. Call it while no adapter is in the base.

        Those `of_the_base` will be asked for as the base alone says them, though encoders are trained.
        """
        prior = set(of_the_base)
        wanted = {
            self._key(encoder, caption): (encoder, caption)
            for encoder in self._base.text_encoders
            for caption in sorted(prior if encoder.name in self._trained else prior | set(captions))
            if not self._has(encoder, caption)
        }
        done, missing = 0, []
        for key, value in self._cache.get_all(wanted):
            if value is None:
                missing.append(key)
            else:
                self._keep(*wanted[key], value)
                done += 1
        progress(done, len(wanted))  # from here on the pace is that of encoding
        with self._cache.writing() as writer:
            for key in missing:
                value = self._encoded(*wanted[key])
                writer.put(key, value)
                self._keep(*wanted[key], value)
                done += 1
                progress(done, len(wanted))

    def token_counts(self, captions: Collection[str]) -> Callable[[str], int]:
        """What counts the tokens of each of these captions, without start and end, by the encoder that makes most of it.

        Counts come through the cache, so that captions that were read before need no tokenizer; not where encoders read new
        tokens, which are a job's own.
        """
        encoders = self._base.text_encoders
        if any(encoder.new_tokens is not None for encoder in encoders):
            return partial(most_tokens, encoders)
        ordered = sorted(set(captions))
        key = self._cache.key("token-counts", captions=ordered, encoders=dict(self._digests))
        value = self._cache.get(key)
        if value is None:
            value = {"counts": torch.tensor([most_tokens(encoders, caption) for caption in ordered], dtype=torch.int64)}
            self._cache.put(key, value)
        return dict(zip(ordered, value["counts"].tolist(), strict=True)).__getitem__

    def of(self, captions: Sequence[str]) -> Conditioning:
        """Of these captions; differentiable where a text encoder is trained."""
        return self._base.joined(
            [
                encoder.encode(captions) if encoder.name in self._trained else self._stacked(encoder, captions)
                for encoder in self._base.text_encoders
            ]
        )

    def of_base(self, captions: Sequence[str]) -> Conditioning:
        """By the base alone: of captions that were prepared, or else while its adapters are off."""
        return self._base.joined([self._stacked(encoder, captions) for encoder in self._base.text_encoders])

    def _stacked(self, encoder: TextEncoder, captions: Sequence[str]) -> Encoded:
        return stacked([self._frozen(encoder, caption) for caption in captions])

    def _frozen(self, encoder: TextEncoder, caption: str) -> dict[str, Tensor]:
        what = encoder.name, caption
        if not self._has(encoder, caption):
            self._keep(encoder, caption, self._encoded(encoder, caption))
        if what in self._on_device:
            return self._on_device[what]
        return {name: tensor.to(self._base.device) for name, tensor in self._on_disk[what].items()}

    def _has(self, encoder: TextEncoder, caption: str) -> bool:
        return (encoder.name, caption) in self._on_device or (encoder.name, caption) in self._on_disk

    def _keep(self, encoder: TextEncoder, caption: str, value: Mapping[str, Tensor]) -> None:
        size = sum(tensor.nbytes for tensor in value.values())
        if self._bytes_on_device + size > ON_DEVICE:
            self._on_disk[encoder.name, caption] = value
            return
        self._bytes_on_device += size
        self._on_device[encoder.name, caption] = {name: value[name].to(self._base.device) for name in value}

    @torch.no_grad()
    def _encoded(self, encoder: TextEncoder, caption: str) -> dict[str, Tensor]:
        return detached_copy(encoder.encode([caption]), 0)

    def _key(self, encoder: TextEncoder, caption: str) -> str:
        """The key of a caption's embedding, over all that it depends on."""
        return self._cache.key(
            "words",
            caption=caption,
            encoder=self._digests[encoder.name],
            recipe=encoder.recipe,
            fingerprint=self._fingerprint,
        )
