"""Puts a base model's files into the store: claims the id for their content first, writes the record last."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from loramill import v1
from service import keys
from service.families import Found
from service.importing import problems
from service.importing.problems import failed
from service.times import to_timestamp
from store.digests import manifest_digest, sha256_of
from store.object_store import AlreadyExists, ObjectStore
from store.records import put_record, read_record


def describe(model: v1.BaseModel, found: Found) -> None:
    """Writes down what the weights and configurations say."""
    model.family, model.resolution = found.family, found.resolution
    model.prediction_type, model.zero_terminal_snr = found.prediction_type, found.zero_terminal_snr
    model.caption_form = found.caption_form


def manifest_of(files: Mapping[str, Path], hashed: Callable[[int], None]) -> v1.FileManifest:
    """The manifest of local files by their place in the layout; `hashed` hears of bytes that were read."""
    entries = []
    for name, path in sorted(files.items(), key=lambda item: item[0].encode()):
        size = path.stat().st_size
        entries.append(v1.DatasetFile(path=name, sha256=sha256_of(path), size_bytes=size))
        hashed(size)
    return v1.FileManifest(files=entries, digest=manifest_digest(entries))


def store_base(
    store: ObjectStore,
    model: v1.BaseModel,
    files: Mapping[str, Path],
    manifest: v1.FileManifest,
    now: datetime,
    stored: Callable[[int], None] = lambda _: None,
) -> v1.BaseModel:
    """Stores what the manifest lists; `model` lacks what follows from that. The base model as it was first recorded.

    Raises ImportFailed if its id already stands for another content, and StoreError.
    """
    model.digest = manifest.digest
    model.size_bytes = sum(file.size_bytes for file in manifest.files)
    model.create_time.CopyFrom(to_timestamp(now))
    base_keys = keys.BaseKeys(_id(model))
    claimed = _claim(store, base_keys, model)
    for file in manifest.files:
        with suppress(AlreadyExists):  # the claim binds the id to one content, so it is the same
            store.put_new(base_keys.files + file.path, files[file.path])
        stored(file.size_bytes)
    put_record(store, base_keys.manifest, manifest)
    _check_stored(store, base_keys, manifest)
    put_record(store, base_keys.record, v1.BaseModelRecord(base_model=claimed))
    return claimed


def _claim(store: ObjectStore, base_keys: keys.BaseKeys, model: v1.BaseModel) -> v1.BaseModel:
    """Binds the id to this content; the base model as it was first claimed. Raises ImportFailed for another content."""
    put_record(store, base_keys.claim, v1.BaseModelRecord(base_model=model))
    record = read_record(store, base_keys.claim, v1.BaseModelRecord)
    claimed = record.base_model if record is not None else model
    if claimed.digest != model.digest:
        raise failed(
            problems.ALREADY_EXISTS,
            f"{model.name} already stands for another content (imported from {claimed.source_uri}, "
            f"digest {claimed.digest[:12]}…, now {model.digest[:12]}…); import it under another id.",
        )
    return claimed


def _check_stored(store: ObjectStore, base_keys: keys.BaseKeys, manifest: v1.FileManifest) -> None:
    """What an import that failed long ago had stored may have been collected while this one counted on it."""
    wanted = {base_keys.claim, base_keys.manifest, *(base_keys.files + file.path for file in manifest.files)}
    if not wanted <= {entry.key for entry in store.list(base_keys.root)}:
        name = keys.base_name(base_keys.base)
        raise failed(
            problems.INTERRUPTED,
            f"An earlier import of {name} was being cleared away at the same moment; import it again.",
        )


def _id(model: v1.BaseModel) -> str:
    base = keys.base_of_name(model.name)
    assert base is not None, model.name
    return base
