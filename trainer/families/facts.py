"""What is known of a family without a base model at hand."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FamilyFacts:
    """How a family is called elsewhere."""

    architecture: str
    """`modelspec.architecture` of its adapters."""
    kohya_version: str
    """`ss_base_model_version`: kohya's name of the base."""
    pipeline: str
    """diffusers' class that draws with it."""
