"""Every kind of tensors that an adapter can be made of, found by the names of the tensors."""

from __future__ import annotations

from collections.abc import Iterable

from trainer.adapters.loha import Loha
from trainer.adapters.lokr import Lokr
from trainer.adapters.lora import Lora
from trainer.adapters.mathematics import Kind

KINDS: dict[str, Kind] = {"lora": Lora(), "hada": Loha(), "lokr": Lokr()}
"""By the part before the first underscore of their tensors' names."""


def kind_of(names: Iterable[str]) -> Kind:
    """The kind of an adapter with tensors of these names."""
    return KINDS[next(iter(names)).partition("_")[0]]
