"""Fills a node's folder of base models, from which trainers then start without fetching gigabytes: see `base_files`.

A base model appears whole or not at all: its files are fetched into a folder beside, which is then given its name. A folder that
was left half full is gone on with. One filler works in a folder at a time; nothing else is removed from it.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from google.protobuf.json_format import MessageToJson

from loramill import v1
from store import ObjectStore, open_store
from store.key_rules import check_key
from trainer.base_files import MANIFEST, fetch_file, problem_of, read_base_manifest


def fill_bases(folder: Path, base_uris: Sequence[str]) -> None:
    """Brings the base models into the folder; each URI is where a base model's files and their manifest lie in the store.

    Says of each what was done. Raises UserError for one that is damaged there or missing, StoreError and OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _alone(folder):
        for uri in base_uris:
            store = open_store(uri)
            manifest = read_base_manifest(store, uri)
            for file in manifest.files:
                check_key(file.path)
            size = sum(file.size_bytes for file in manifest.files) / 1e6
            what = f"{uri} ({len(manifest.files)} files, {size:.1f} MB) as {folder / manifest.digest}"
            if _is_whole(folder, manifest.digest, manifest):
                print(f"Found {what}.")
            else:
                _fill(folder, store, manifest, uri)
                print(f"Filled {what}.")


def _is_whole(folder: Path, name: str, manifest: v1.FileManifest) -> bool:
    return (folder / name / MANIFEST).is_file() and not any(problem_of(folder, name, file) for file in manifest.files)


def _fill(folder: Path, store: ObjectStore, manifest: v1.FileManifest, uri: str) -> None:
    partial, target = folder / f".filling-{manifest.digest}", folder / manifest.digest
    for file in manifest.files:
        path = partial / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if problem_of(folder, partial.name, file):
            fetch_file(store, file, path, uri)
    (partial / MANIFEST).write_text(MessageToJson(manifest))
    # What stands in the way is damaged. Who is loading it has its files open and keeps them.
    if target.exists():
        shutil.rmtree(target)
    partial.rename(target)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """While no other filler works in the folder; a lock of a process that dies is gone with it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
