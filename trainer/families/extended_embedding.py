"""The embedding of a text encoder with rows of its own for new tokens (`trainer.text.new_tokens`)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class ExtendedEmbedding(nn.Module):
    """A frozen embedding, and rows of its own for ids below 0: row n - 1 for id -n, of the rows of all tags one after another."""

    def __init__(self, frozen: nn.Module, rows: Sequence[nn.Parameter]) -> None:
        super().__init__()
        self.frozen = frozen
        self.rows = nn.ParameterList(rows)

    @property
    def weight(self) -> Tensor:
        """Of the known tokens; read by transformers for its type and place alone."""
        weight: Tensor = self.frozen.weight  # type: ignore[assignment]
        return weight

    def forward(self, ids: Tensor) -> Tensor:
        """(…) → (…, D)."""
        known: Tensor = self.frozen(ids.clamp(min=0))
        new = nn.functional.embedding((-1 - ids).clamp(min=0), torch.cat(list(self.rows)))
        return torch.where((ids < 0).unsqueeze(-1), new.to(known.dtype), known)
