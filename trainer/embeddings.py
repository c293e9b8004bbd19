"""Captions as the UNet sees them: encoded once by the frozen text encoder, or in every step if it is trained."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from trainer.cache import Cache
from trainer.families.base import Base


class Words:
    """Embeddings of captions, (B, T, D), on the device.

    What the frozen encoder makes of a caption is made once, of it alone, so that its numbers do not depend on its neighbours.
    """

    def __init__(self, base: Base, cache: Cache, *, encoder_digest: str, fingerprint: str, trained: bool) -> None:
        self._base, self._cache, self._trained = base, cache, trained
        self._depends_on = {"encoder": encoder_digest, "fingerprint": fingerprint}
        self._known: dict[str, Tensor] = {}

    def prepare(self, captions: Iterable[str], progress: Callable[[int, int], None]) -> None:
        """Has the base encode captions ahead of training, through the cache. Call it while no adapter is in the base."""
        wanted = sorted(set(captions) - set(self._known))
        for done, caption in enumerate(wanted):
            progress(done, len(wanted))
            self._frozen(caption)
        progress(len(wanted), len(wanted))

    def of(self, captions: Sequence[str]) -> Tensor:
        """Embeddings of these captions; differentiable where the text encoder is trained."""
        if self._trained:
            return self._base.encode_captions(captions)
        return self.of_base(captions)

    def of_base(self, captions: Sequence[str]) -> Tensor:
        """Embeddings by the base alone: of captions that were prepared, or else while its adapters are off."""
        return torch.stack([self._frozen(caption) for caption in captions])

    @torch.no_grad()
    def _frozen(self, caption: str) -> Tensor:
        if caption not in self._known:
            key = self._cache.key("words", caption=caption, **self._depends_on)
            value = self._cache.get(key)
            if value is None:
                value = {"words": self._base.encode_captions([caption])[0].cpu()}
                self._cache.put(key, value)
            self._known[caption] = value["words"].to(self._base.alphas_cumprod.device)
        return self._known[caption]
