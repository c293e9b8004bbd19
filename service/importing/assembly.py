"""The files of a base model in the diffusers layout, made of what was fetched: converted, joined, with another VAE in place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from loramill import v1
from service.base_files import read_config
from service.importing.checkpoint import examine_checkpoint, examine_vae
from service.importing.conversion import convert, converted_size
from service.importing.family_configs import FamilyConfigs
from service.importing.pieces import Copied, Piece, pieces_of, write_pieces
from service.importing.problems import unsuitable
from service.importing.reporting import Reporter
from service.importing.selection import Selection
from service.layout import CONFIG_FILES, WEIGHT_FILES
from service.safetensors_header import HEADER_LENGTH_BYTES, LARGEST_HEADER, Header, HeaderError, read_header

_VAE_CONFIG, _VAE_WEIGHTS = CONFIG_FILES["vae"], WEIGHT_FILES["vae"]


@dataclass(frozen=True)
class Fetched:
    """What was taken of a source, on this machine."""

    selection: Selection
    paths: Mapping[str, Path]
    """By the source's names."""


@dataclass(frozen=True)
class Assembled:
    """A base model's files."""

    files: dict[str, Path]
    """By their place in the layout."""
    notes: list[str] = field(default_factory=list)


def assemble(
    base: Fetched, vae: Fetched | None, families: Mapping[str, FamilyConfigs], staging: Path, reporter: Reporter
) -> Assembled:
    """Writes below `staging` what has to be written. Raises ImportFailed for what is no whole base model, and OSError."""
    if base.selection.checkpoint:
        assembled = _converted(base, families, staging, reporter, needs_vae=vae is None)
    else:
        assembled = _joined(base, staging, reporter)
    if vae is not None:
        _replace_vae(assembled, vae, staging, reporter.progress)
    assembled.notes.extend([*base.selection.notes, *(vae.selection.notes if vae is not None else ())])
    return assembled


def check_head(
    name: str,
    head: Callable[[int], bytes],
    size: int,
    families: Mapping[str, FamilyConfigs],
    staging: Path,
    *,
    needs_vae: bool,
) -> None:
    """Looks at a single file's header, so that a wrong one is refused before gigabytes of it are fetched. Raises ImportFailed.

    `head` reads its first bytes, `size` is that of all of it.
    """
    length = int.from_bytes(head(HEADER_LENGTH_BYTES), "little")
    path = staging / "head.safetensors"
    with path.open("wb") as file:
        file.write(head(HEADER_LENGTH_BYTES + min(length, LARGEST_HEADER)))
        file.truncate(size)  # the tensors are a hole, of which only the length counts
    examine_checkpoint(path, _header(name, path), families, needs_vae=needs_vae)
    path.unlink()


def _converted(
    base: Fetched, families: Mapping[str, FamilyConfigs], staging: Path, reporter: Reporter, *, needs_vae: bool
) -> Assembled:
    name = base.selection.checkpoint
    path = base.paths[name]
    checkpoint = examine_checkpoint(path, _header(name, path), families, needs_vae=needs_vae)
    reporter.begin(v1.BASE_MODEL_IMPORT_PHASE_CONVERTING, converted_size(checkpoint))
    return Assembled(convert(checkpoint, staging, reporter.progress), list(checkpoint.notes))


def _joined(base: Fetched, staging: Path, reporter: Reporter) -> Assembled:
    files = {}
    for place, names in base.selection.files.items():
        files[place] = (
            base.paths[names[0]] if len(names) == 1 else _join(place, names, base, staging, reporter.progress)
        )
    return Assembled(files)


def _join(place: str, names: Sequence[str], source: Fetched, staging: Path, copied: Copied) -> Path:
    """One file of weights that are kept in several."""
    pieces: dict[str, Piece] = {}
    for name in names:
        for piece in pieces_of(source.paths[name], _header(name, source.paths[name])):
            if piece.name in pieces:
                raise unsuitable(
                    [f"{name} holds the tensor {piece.name[:100]} a second time; download its folder again."]
                )
            pieces[piece.name] = piece
    return _written(staging / place, pieces.values(), copied)


def _replace_vae(assembled: Assembled, vae: Fetched, staging: Path, copied: Copied) -> None:
    selection, files = vae.selection, assembled.files
    if not selection.checkpoint:
        files[_VAE_CONFIG] = vae.paths[selection.files[_VAE_CONFIG][0]]
        names = selection.files[_VAE_WEIGHTS]
        whole = len(names) == 1
        files[_VAE_WEIGHTS] = vae.paths[names[0]] if whole else _join(_VAE_WEIGHTS, names, vae, staging, copied)
        return
    problems: list[str] = []
    config = read_config(_VAE_CONFIG, files, problems)
    if config is None:
        raise unsuitable(problems)
    name = selection.checkpoint
    path = vae.paths[name]
    try:
        pieces = examine_vae(path, _header(name, path), FamilyConfigs("this base model", {"vae": config}))
    except (KeyError, TypeError, ValueError) as error:
        raise unsuitable(
            [f"{_VAE_CONFIG} is not the configuration of a VAE ({error!r}); download it again."]
        ) from error
    files[_VAE_WEIGHTS] = _written(staging / "replaced" / _VAE_WEIGHTS, pieces, copied)


def _written(path: Path, pieces: Iterable[Piece], copied: Copied) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_pieces(path, pieces, copied)
    return path


def _header(name: str, path: Path) -> Header:
    try:
        return read_header(path)
    except HeaderError as error:
        raise unsuitable([f"{name} {error}."]) from error
