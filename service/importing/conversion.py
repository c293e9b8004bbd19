"""A single-file checkpoint as a folder in the diffusers layout: its tensors renamed, its family's configurations beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from service.importing.checkpoint import Checkpoint
from service.importing.clip_vocabulary import tokenizer_files
from service.importing.pieces import Copied, write_pieces
from service.layout import CONFIG_FILES, MODEL_INDEX, WEIGHT_FILES

_PLACES = {**CONFIG_FILES, "model_index": MODEL_INDEX}


def converted_size(checkpoint: Checkpoint) -> int:
    """Bytes of tensors that will be written."""
    return sum(piece.size for pieces in checkpoint.pieces.values() for piece in pieces)


def convert(checkpoint: Checkpoint, folder: Path, copied: Copied) -> dict[str, Path]:
    """Writes the base model's files below `folder`; their paths by their place in the layout. Raises OSError.

    A component that the checkpoint was not asked for, such as a VAE that another one is put in the place of, gets its
    configuration alone.
    """
    contents = _contents(checkpoint.family.configs)
    files = {name: _path(folder, name) for name in contents}
    for name, content in contents.items():
        files[name].write_bytes(content)
    for component, pieces in checkpoint.pieces.items():
        name = WEIGHT_FILES[component]
        files[name] = _path(folder, name)
        write_pieces(files[name], pieces, copied)
    return files


def _contents(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, bytes]:
    """The small files."""
    contents: dict[str, bytes] = {}
    for component, config in configs.items():
        if component.startswith("tokenizer"):
            contents |= {f"{component}/{name}": content for name, content in tokenizer_files(config).items()}
        else:
            contents[_PLACES[component]] = json.dumps(config, indent=2, sort_keys=True).encode()
    return contents


def _path(folder: Path, name: str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
