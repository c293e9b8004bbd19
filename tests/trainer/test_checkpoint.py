"""Which checkpoint a run goes on from: the highest that verifies, whichever run wrote it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from loramill import v1
from store import ObjectStore, open_store
from trainer import generations
from trainer.checkpoint import Checkpoint, choose, commit, job_sha256, names_of

JOB = "a" * 64
NAMES = frozenset({JOB})


@pytest.fixture
def runs(tmp_path: Path) -> ObjectStore:
    return open_store(f"file://{tmp_path}/")


def saved(runs: ObjectStore, launch: int, step: int, *, generation: int = 0, job: str = JOB) -> str:
    """Commits a checkpoint whose only tensor is its step; the key of its folder."""
    state = Checkpoint(
        step=step,
        generation=generation,
        trained_seconds=step / 2,
        numeric_fingerprint="here",
        tensors={"values": torch.tensor([float(step)])},
    )
    commit(open_store(f"{runs.uri}{launch}/"), state, job)
    return f"{launch}/checkpoints/{generation:03d}-{step:07d}/"


def chosen(runs: ObjectStore, generation: v1.Generation = generations.FIRST) -> tuple[int, int] | None:
    found = choose(runs, NAMES, generation)
    return None if found is None else (found.generation, found.step)


def overwrite(runs: ObjectStore, key: str, content: bytes) -> None:
    runs.delete(key)
    runs.put_new(key, content)


def test_the_highest_step_of_any_run(runs: ObjectStore) -> None:
    assert choose(runs, NAMES) is None
    saved(runs, 1, 900)
    saved(runs, 2, 1000)
    saved(runs, 9, 20)
    found = choose(runs, NAMES)
    assert found is not None
    assert (found.generation, found.step, found.trained_seconds) == (0, 1000, 500.0)
    assert found.numeric_fingerprint == "here"
    assert found.tensors["values"].tolist() == [1000.0]


def test_a_generation_goes_on_where_it_began_and_never_behind(runs: ObjectStore, tmp_path: Path) -> None:
    """An old run that has not learnt of it may still write into the line that was given up."""
    for step in (20, 40, 60):
        saved(runs, 1, step)
    line = open_store(f"file://{tmp_path}/line/")
    assert generations.current(line) == generations.FIRST
    opened = generations.open_next(line, generations.FIRST, from_step=40, message="It diverged.")
    assert (opened.generation, opened.from_step, opened.rate_factor) == (1, 40, 0.5)
    assert generations.open_next(line, generations.FIRST, from_step=20, message="Late.") == opened
    assert generations.current(line) == opened

    assert chosen(runs, opened) == (0, 40)
    saved(runs, 1, 80)
    assert chosen(runs, opened) == (0, 40)
    saved(runs, 2, 50, generation=1)
    assert chosen(runs, opened) == (1, 50)
    assert chosen(runs, v1.Generation(generation=2, from_step=0)) is None


def damaged_state(runs: ObjectStore, folder: str) -> None:
    content = bytearray(runs.get(f"{folder}state.safetensors"))
    content[-1] ^= 1
    overwrite(runs, f"{folder}state.safetensors", bytes(content))


def missing_state(runs: ObjectStore, folder: str) -> None:
    runs.delete(f"{folder}state.safetensors")


def half_a_manifest(runs: ObjectStore, folder: str) -> None:
    overwrite(runs, f"{folder}manifest.json", runs.get(f"{folder}manifest.json")[:20])


def manifest_of_a_later_version(runs: ObjectStore, folder: str) -> None:
    manifest = json.loads(runs.get(f"{folder}manifest.json"))
    overwrite(runs, f"{folder}manifest.json", json.dumps({**manifest, "schemaVersion": 99}).encode())


def no_manifest(runs: ObjectStore, folder: str) -> None:
    runs.delete(f"{folder}manifest.json")


@pytest.mark.parametrize(
    "spoil", [damaged_state, missing_state, half_a_manifest, manifest_of_a_later_version, no_manifest]
)
def test_one_that_does_not_verify_is_passed_over(spoil: Callable[[ObjectStore, str], None], runs: ObjectStore) -> None:
    saved(runs, 1, 10)
    spoil(runs, saved(runs, 1, 20))
    assert chosen(runs) == (0, 10)


def test_one_of_another_job_is_passed_over(runs: ObjectStore) -> None:
    saved(runs, 1, 10)
    saved(runs, 1, 20, job="b" * 64)
    assert chosen(runs) == (0, 10)


def test_what_a_killed_process_left_half_written_gives_way(runs: ObjectStore) -> None:
    runs.put_new("1/checkpoints/000-0000010/state.safetensors", b"half")
    saved(runs, 1, 10)
    assert chosen(runs) == (0, 10)


def assignment(**change: object) -> v1.Assignment:
    spec = v1.TrainingSpec(optimization=v1.OptimizationSpec(seed=1, steps=10))
    given = {
        "spec": spec,
        "base_model": v1.BaseModel(digest="b"),
        "dataset_manifest_uri": "file:///d",
        "launch": 1,
        **change,
    }
    return v1.Assignment(**given)


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"launch": 2, "run_uri": "file:///runs/2/"}, True),
        ({"spec": v1.TrainingSpec(optimization=v1.OptimizationSpec(seed=2, steps=10))}, False),
        ({"base_model": v1.BaseModel(digest="c")}, False),
        ({"spec": v1.TrainingSpec(dataset=v1.DatasetSpec(dataset="datasets/e"))}, False),
        ({"initial_adapter_sha256": "d"}, False),
        # In another place, as a store that was restored from a copy.
        ({"dataset_manifest_uri": "file:///e", "runs_uri": "file:///f"}, True),
    ],
)
def test_the_digest_of_a_job_is_over_all_that_the_numbers_depend_on(change: dict[str, object], same: bool) -> None:
    assert (job_sha256(assignment()) == job_sha256(assignment(**change))) is same


def test_a_checkpoint_of_an_older_trainer_is_known_by_the_place_of_the_dataset(runs: ObjectStore) -> None:
    spec = assignment().spec.SerializeToString(deterministic=True)
    older = hashlib.sha256(b"\x00".join([spec, b"b", b"file:///d", b""])).hexdigest()
    saved(runs, 1, 10, job=older)
    assert choose(runs, names_of(assignment())) is not None
    assert choose(runs, names_of(assignment(dataset_manifest_uri="file:///e"))) is None
