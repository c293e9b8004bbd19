"""A base model's files, verified: linked from a folder of this node where that has them, else fetched from the store.

<bases>/<digest of the base model>/<path>           its files, as they lie in the store
<bases>/<digest of the base model>/manifest.json    their FileManifest, written last

The folder is filled by `fill_bases`, is read-only here, and is not trusted: each file is used only if no link leads to it and its
size and SHA-256 are those of the manifest, whose digest the job was accepted with. Hashing takes a second or so for a gigabyte,
much less than fetching does, and the file is then in memory for the loading.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import structlog

from loramill import v1
from store import NotFound, ObjectStore, folders, open_store
from store.digests import manifest_digest, sha256_of
from store.records import read_record
from trainer.errors import UserError

MANIFEST = "manifest.json"

log = structlog.get_logger()


@dataclass(frozen=True)
class BaseFolder:
    """A base model on the local disk."""

    path: Path
    """Holds what the manifest lists, and nothing else."""
    source: str
    """Where it came from, for people."""
    warnings: tuple[str, ...]


def fetch_base(assignment: v1.Assignment, work: Path, bases: Path | None = None) -> BaseFolder:
    """Puts the base model's files, or links to them, into `work`. `bases` is the folder of this node, if it has one.

    Raises UserError where the store has not what the job was accepted with, and StoreError.
    """
    model, store = assignment.base_model, open_store(assignment.base_model_uri)
    manifest = read_base_manifest(store, model.name)
    if manifest.digest != model.digest:
        raise UserError(f"The base model {model.name} is another than the one this job was accepted with.")
    here = bases.absolute() if bases is not None and (bases / model.digest).is_dir() else None
    problems: list[str] = []
    for file in manifest.files:
        path = work / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        problem = problem_of(here, model.digest, file) if here is not None else ""
        if here is None or problem:
            fetch_file(store, file, path, model.name)
        else:
            path.symlink_to(here / model.digest / file.path)
        if problem:
            problems.append(f"{file.path} {problem}")
    if here is None:
        return BaseFolder(work, "the store", ())
    if problems:
        return BaseFolder(work, "this node and the store", (_warning(here, model.name, manifest, problems),))
    return BaseFolder(work, "this node", ())


def read_base_manifest(store: ObjectStore, name: str) -> v1.FileManifest:
    """The manifest of the base model whose files `store` holds, its digest checked; raises UserError."""
    manifest = read_record(store, MANIFEST, v1.FileManifest)
    if manifest is None:
        raise UserError(f"The base model {name} is not in the store; import it again.")
    if manifest_digest(manifest.files) != manifest.digest:
        raise UserError(f"The manifest of the base model {name} is damaged in the store; import it again.")
    return manifest


def fetch_file(store: ObjectStore, file: v1.DatasetFile, path: Path, name: str) -> None:
    """Copies a file of base model `name` from the store to `path`; raises UserError where it is not as it should be."""
    try:
        store.fetch(file.path, path)
    except NotFound as error:
        raise UserError(f"The base model {name} lacks {file.path}; import it again.") from error
    if sha256_of(path) != file.sha256:
        raise UserError(f"{file.path} of {name} is damaged in the store; import it again.")


def problem_of(bases: Path, digest: str, file: v1.DatasetFile) -> str:
    """What is wrong with a file of a filled folder, to go on after its path; empty if nothing is. Links are not followed."""
    *parents, name = file.path.split("/")
    try:
        with folders.opened(bases, [digest, *parents]) as chain, folders.open_file(name, chain[-1]) as content:
            size = os.fstat(content.fileno()).st_size
            if size != file.size_bytes:
                return f"has {size} bytes and should have {file.size_bytes}"
            found = hashlib.file_digest(content, "sha256").hexdigest()
    except (FileNotFoundError, NotADirectoryError):
        return "is missing, or a link"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return "" if found == file.sha256 else "has another SHA-256"


def _warning(bases: Path, name: str, manifest: v1.FileManifest, problems: list[str]) -> str:
    warning = (
        f"{len(problems)} of {len(manifest.files)} files of {name} in this node's folder {bases} are not as they should be "
        f"and were fetched from the store; {problems[0]}. Fill the folder again."
    )
    log.warning(warning)
    return warning
