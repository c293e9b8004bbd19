"""Checkpoints: immutable, the manifest written last. Resume is rerun: a run starts from the best that verifies.

runs/<n>/checkpoints/<generation>-<step>/state.safetensors   all that changes while a job trains (`state.state_of`)
runs/<n>/checkpoints/<generation>-<step>/manifest.json       CheckpointManifest
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

import structlog
from safetensors.torch import load, save
from torch import Tensor

from loramill import v1
from store import AlreadyExists, NotFound, ObjectStore, RecordError
from store.digests import sha256_of
from store.records import put_record, read_record
from trainer.generations import FIRST

log = structlog.get_logger()

FOLDER = "checkpoints/"
_MANIFEST = re.compile(rf"\d+/{FOLDER}(\d+)-(\d+)/manifest\.json")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """State that training can go on from."""

    step: int
    generation: int
    trained_seconds: float
    numeric_fingerprint: str
    tensors: dict[str, Tensor]


def _folder(generation: int, step: int) -> str:
    return f"{FOLDER}{generation:03d}-{step:07d}/"


def job_sha256(assignment: v1.Assignment) -> str:
    """A digest of what the trained numbers depend on, wherever that lies: a checkpoint of another job is never taken, one that
    was copied into another store with its job is. The spec names the dataset, whose content never changes."""
    return _sha256_over(assignment, assignment.base_model.digest, assignment.initial_adapter_sha256)


def names_of(assignment: v1.Assignment) -> frozenset[str]:
    """All that a checkpoint may call the job that it belongs to: trainers of earlier versions took in where its dataset lay."""
    base, initial = assignment.base_model.digest, assignment.initial_adapter_sha256
    return frozenset({job_sha256(assignment), _sha256_over(assignment, base, assignment.dataset_manifest_uri, initial)})


def _sha256_over(assignment: v1.Assignment, *others: str) -> str:
    words = [assignment.spec.SerializeToString(deterministic=True), *(other.encode() for other in others)]
    return hashlib.sha256(b"\x00".join(words)).hexdigest()


def commit(run: ObjectStore, checkpoint: Checkpoint, job: str) -> None:
    """Writes a checkpoint into this run's folder: first the state, then the manifest that makes it count."""
    folder, content = _folder(checkpoint.generation, checkpoint.step), save(checkpoint.tensors)
    state = f"{folder}state.safetensors"
    try:
        run.put_new(state, content)
    except AlreadyExists:
        # This run was here before it was killed and started again: by determinism the bytes are the same, or half of nothing.
        if sha256_of(run.get(state)) != sha256_of(content):
            run.delete(state)
            run.put_new(state, content)
    put_record(
        run,
        f"{folder}manifest.json",
        v1.CheckpointManifest(
            schema_version=1,
            generation=checkpoint.generation,
            step=checkpoint.step,
            state_sha256=sha256_of(content),
            state_size_bytes=len(content),
            numeric_fingerprint=checkpoint.numeric_fingerprint,
            trained_seconds=checkpoint.trained_seconds,
            job_sha256=job,
        ),
    )


def _verified(runs: ObjectStore, key: str, names: frozenset[str]) -> Checkpoint | None:
    try:
        manifest = read_record(runs, key, v1.CheckpointManifest)
        if manifest is None or manifest.job_sha256 not in names:
            return None
        content = runs.get(key.removesuffix("manifest.json") + "state.safetensors")
    except (NotFound, RecordError) as error:
        log.warning("a checkpoint is passed over", key=key, why=str(error))
        return None
    if sha256_of(content) != manifest.state_sha256:
        log.warning("a checkpoint is passed over", key=key, why="its state has another digest than its manifest says")
        return None
    return Checkpoint(
        step=manifest.step,
        generation=manifest.generation,
        trained_seconds=manifest.trained_seconds,
        numeric_fingerprint=manifest.numeric_fingerprint,
        tensors=load(content),
    )


def choose(runs: ObjectStore, names: frozenset[str], generation: v1.Generation = FIRST) -> Checkpoint | None:
    """The checkpoint to go on from, of those that have one of the job's names (`names_of`): the highest step of the generation,
    of any run of the job, whose manifest verifies; else the one that the generation began with. What was saved of the generation
    before, behind that, is never gone back to."""
    begun = (generation.generation - 1, generation.from_step)
    manifests = []
    for info in runs.list():
        match = _MANIFEST.fullmatch(info.key)
        place = (int(match[1]), int(match[2])) if match is not None else None
        if place is not None and (place[0] == generation.generation or place == begun):
            manifests.append((place, info.key))
    for _, key in sorted(manifests, reverse=True):
        found = _verified(runs, key, names)
        if found is not None:
            return found
    return None
