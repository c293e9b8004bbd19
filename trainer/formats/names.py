"""Layer names as files spell them, where libraries changed theirs."""

from __future__ import annotations


def text_model_path(path: str) -> str:
    """transformers 5 dropped `text_model.` from CLIPTextModel's module names; every file keeps it."""
    return path if path.startswith("text_model.") else f"text_model.{path}"
