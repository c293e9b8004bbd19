"""Fills in what a message leaves open, and nothing else."""

from __future__ import annotations


def default(message: object, field: str, value: object) -> None:
    """Fills an optional field that is not set."""
    if not message.HasField(field):  # type: ignore[attr-defined]
        setattr(message, field, value)


def choose(message: object, field: str, value: object) -> None:
    """Fills a choice or a text that is empty."""
    if not getattr(message, field):
        setattr(message, field, value)
