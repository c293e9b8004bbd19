"""The files of a base model in the diffusers layout, on this machine: which there must be, which are taken, which are refused.

The folder belongs to an operator, but links in it may lead anywhere: every file is resolved, and must lie below a root that
the operator listed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from service.errors import InvalidRequest, Violation
from service.families import Found, Layout, examine, other_family
from service.safetensors_header import Header, HeaderError, read_header

PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle")

_WEIGHTS = {
    "unet": "unet/diffusion_pytorch_model.safetensors",
    "vae": "vae/diffusion_pytorch_model.safetensors",
    "text_encoder": "text_encoder/model.safetensors",
}
_CONFIGS = {
    "unet": "unet/config.json",
    "vae": "vae/config.json",
    "text_encoder": "text_encoder/config.json",
    "scheduler": "scheduler/scheduler_config.json",
}
_REQUIRED = ("model_index.json", *_CONFIGS.values(), *_WEIGHTS.values())
_TOKENIZERS = (("tokenizer/vocab.json", "tokenizer/merges.txt"), ("tokenizer/tokenizer.json",))
"""transformers 4 saves the first kind, transformers 5 the second alone; either will do."""
_OPTIONAL = (
    *(name for kind in _TOKENIZERS for name in kind),
    "tokenizer/tokenizer_config.json",
    "tokenizer/special_tokens_map.json",
    "tokenizer/added_tokens.json",
    "LICENSE",
    "LICENSE.md",
    "LICENSE.txt",
)
_LARGEST_JSON = 16 << 20
_MOST_FILES = 10_000


@dataclass(frozen=True)
class BaseFiles:
    """What an import takes: resolved paths by their place in the layout, and what the weights say."""

    files: Mapping[str, Path]
    found: Found


def folder_of(source_uri: str, roots: Iterable[Path]) -> Path:
    """The folder of a `file://` URI, links resolved, below one of the roots. Raises InvalidRequest."""
    split = urlsplit(source_uri)
    if split.scheme != "file" or split.netloc not in ("", "localhost") or split.query or split.fragment:
        raise _refused(
            f"source_uri is {source_uri[:200]!r}, but must be file:///folder; other addresses are not yet supported.",
            "NOT_SUPPORTED",
        )
    path = unquote(split.path)
    if not path.startswith("/") or "\0" in path:
        raise _refused(
            f"source_uri is {source_uri[:200]!r}, but must name an absolute path: file:///folder.", "INVALID_NAME"
        )
    folder = Path(os.path.realpath(path))
    listed = [root.resolve() for root in roots]
    # Whoever asks must not learn what lies outside: the same answer whether it is there or not.
    if not _is_below(folder, listed):
        names = ", ".join(map(str, listed)) or "none: start the service with --import-root DIR"
        raise _refused(f"source_uri {source_uri[:200]!r} does not lie below an import root ({names}).", "OUTSIDE_ROOTS")
    if not folder.is_dir():
        raise _refused(
            f"source_uri {source_uri[:200]!r} is no folder; name the folder with model_index.json.", "NOT_FOUND"
        )
    return folder


def inspect(folder: Path, roots: Sequence[Path]) -> BaseFiles:
    """The files to take. Raises InvalidRequest with everything that is wrong with them."""
    problems = [
        f"{name} is a pickle, which is never loaded; keep the same weights as safetensors only."
        for name in _pickles(folder)
    ]
    files, file_problems = _files(folder, [root.resolve() for root in roots])
    problems += file_problems
    headers = {part: _header(name, files, problems) for part, name in _WEIGHTS.items()}
    configs = {part: _config(name, files, problems) for part, name in _CONFIGS.items()}
    folders = frozenset(entry.name for entry in folder.iterdir() if entry.is_dir())
    found = None
    unet, vae, text_encoder = headers["unet"], headers["vae"], headers["text_encoder"]
    if unet and vae and text_encoder and all(config is not None for config in configs.values()):
        whole = {part: config for part, config in configs.items() if config is not None}
        found, more = examine(Layout(folders, unet, vae, text_encoder, whole))
        problems += more
    elif family := other_family(folders, unet):
        problems.append(f"The base model is of family {family}, which is not yet supported; import a base of sd15.")
    if problems or found is None:
        raise InvalidRequest([Violation("source_uri", problem, "UNSUITABLE_BASE") for problem in problems])
    return BaseFiles(files, found)


def _pickles(folder: Path) -> list[str]:
    """Relative names of pickles anywhere in the folder, links to folders not followed."""
    names: list[str] = []
    for parent, _, entries in os.walk(folder):
        below = Path(parent).relative_to(folder)
        names += [str(below / name) for name in entries if name.lower().endswith(PICKLES)]
        if len(names) > _MOST_FILES:
            break
    return sorted(names)


def _files(folder: Path, roots: Sequence[Path]) -> tuple[dict[str, Path], list[str]]:
    files, problems = {}, []
    if not any(all((folder / name).exists() for name in kind) for kind in _TOKENIZERS):
        either = " or ".join(" and ".join(kind) for kind in _TOKENIZERS)
        problems.append(f"The tokenizer is missing: a base model in the diffusers layout has {either}.")
    for name in (*_REQUIRED, *_OPTIONAL):
        path = Path(os.path.realpath(folder / name))
        if not (folder / name).exists():
            if name in _REQUIRED:
                problems.append(f"{name} is missing; a base model in the diffusers layout has it.")
        elif not _is_below(path, roots):
            problems.append(f"{name} is a link that leads out of the import roots; put a copy in its place.")
        elif not path.is_file():
            problems.append(f"{name} is no regular file; put one in its place.")
        else:
            files[name] = path
    return files, problems


def _header(name: str, files: Mapping[str, Path], problems: list[str]) -> Header | None:
    if name not in files:
        return None
    try:
        return read_header(files[name])
    except (HeaderError, OSError) as error:
        problems.append(f"{name} {error}.")
        return None


def _config(name: str, files: Mapping[str, Path], problems: list[str]) -> Mapping[str, Any] | None:
    if name not in files:
        return None
    try:
        if files[name].stat().st_size > _LARGEST_JSON:
            raise ValueError
        config = json.loads(files[name].read_bytes())
        if not isinstance(config, dict):
            raise ValueError
    except (ValueError, RecursionError, OSError):
        problems.append(f"{name} is no readable JSON object; download it again.")
        return None
    return config


def _is_below(path: Path, roots: Iterable[Path]) -> bool:
    return any(path.is_relative_to(root) for root in roots)


def _refused(text: str, reason: str) -> InvalidRequest:
    return InvalidRequest([Violation("source_uri", text, reason)])
