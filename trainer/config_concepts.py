"""What a job teaches, as far as it is said: frozen plain data, part of `TrainConfig`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

KindName = Literal["auto", "new", "modified"]


@dataclass(frozen=True, kw_only=True)
class ConceptConfig:
    """One concept. Subsets name theirs by its place among the job's."""

    kind: KindName
    activation_tag: str
    class_words: str
    prior_preservation: bool | None
    """None where nothing is said of it."""

    @property
    def name(self) -> str:
        """For people."""
        return self.activation_tag or self.class_words or "the concept"
