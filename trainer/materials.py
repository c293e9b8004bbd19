"""What a job trains on and with, fetched from the store and verified: dataset and the adapter to go on from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from loramill import v1
from store import NotFound, open_store, split_uri
from store.digests import manifest_digest, sha256_of
from store.records import read_record
from trainer.data.dataset import DataFile
from trainer.errors import UserError


def read_manifest(uri: str) -> v1.FileManifest:
    """A manifest; raises UserError where there is none."""
    root, key = split_uri(uri)
    manifest = read_record(open_store(root), key, v1.FileManifest)
    if manifest is None:
        raise UserError(f"There is nothing at {uri}; it may have been deleted since the job was accepted.")
    return manifest


def fetch_initial_adapter(assignment: v1.Assignment, work: Path) -> Path | None:
    """Copies the file that the job goes on from into `work`, its digest checked; None where the job begins anew."""
    if not assignment.initial_adapter_uri:
        return None
    root, key = split_uri(assignment.initial_adapter_uri)
    name = f"{assignment.spec.adapter.initial_adapter} ({key.rpartition('/')[2]})"
    path = work / key.rpartition("/")[2]
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        open_store(root).fetch(key, path)
    except NotFound as error:
        raise UserError(f"The adapter to go on from, {name}, is not in the store; upload it again.") from error
    if sha256_of(path) != assignment.initial_adapter_sha256:
        raise UserError(f"The adapter to go on from, {name}, is another than the one this job was accepted with.")
    return path


def component_digest(manifest: v1.FileManifest, *components: str) -> str:
    """A digest over the files of some components of a base model, such as `vae`."""
    return manifest_digest(file for file in manifest.files if file.path.partition("/")[0] in components)


def dataset_files(manifest: v1.FileManifest) -> Sequence[DataFile]:
    return [DataFile(path=file.path, sha256=file.sha256, size=file.size_bytes) for file in manifest.files]


def blob_fetcher(assignment: v1.Assignment) -> Callable[[str, Path], None]:
    """Writes the content of a digest to a local file."""
    blobs = open_store(assignment.dataset_blobs_uri)

    def fetch(sha256: str, path: Path) -> None:
        blobs.fetch(sha256, path)

    return fetch
