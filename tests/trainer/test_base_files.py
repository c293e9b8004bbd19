"""Base models that lie on the node already: used where they are what the job was accepted with, and never trusted."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from shutil import copytree, rmtree

import pytest

from loramill import v1
from store import ObjectStore
from store.files import FileStore
from tests.trainer.jobs import Job, Jobs
from trainer.__main__ import main
from trainer.base_files import fetch_base

UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def filled(jobs: Jobs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A node's folder with the base model of `jobs`."""
    folder = tmp_path_factory.mktemp("node") / "bases"
    assert main(["fill-bases", "--into", str(folder), "--base-uri", f"{jobs.place.root}bases/shapes/"]) == 0
    return folder


@pytest.fixture
def job(jobs: Jobs, request: pytest.FixtureRequest) -> Job:
    return jobs.new(f"warm {request.node.name}", {"optimization": {"steps": 1}, "previews": {"prompts": []}})


@pytest.fixture
def bases(filled: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return copytree(filled, tmp_path / "bases")


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is fetched from stores from now on, by name."""
    names: list[str] = []
    fetch = FileStore.fetch

    def noted(store: FileStore, key: str, path: Path) -> None:
        names.append(key)
        fetch(store, key, path)

    monkeypatch.setattr(FileStore, "fetch", noted)
    return names


def contents(folder: Path) -> dict[str, bytes]:
    """Of every file, by path; links are followed."""
    return {
        str((Path(parent) / name).relative_to(folder)): (Path(parent) / name).read_bytes()
        for parent, _, names in os.walk(folder)
        for name in names
    }


def folder_of(job: Job, bases: Path) -> Path:
    return bases / job.assignment.base_model.digest


def test_a_run_takes_what_the_node_has(
    job: Job, filled: Path, fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORAMILL_TRAINER_BASES", str(filled))
    before = contents(filled)
    assert job.run() == 0
    assert "loading baseModels/shapes from this node" in job.log()
    assert not [name for name in fetched if "/" in name], "pictures have no folder"
    assert contents(filled) == before


@pytest.mark.parametrize("has_folder", [False, True])
def test_a_node_that_has_nothing_is_no_cause_to_warn(
    has_folder: bool, job: Job, tmp_path: Path, fetched: list[str]
) -> None:
    found = fetch_base(job.assignment, tmp_path / "work", tmp_path if has_folder else None)
    assert (found.source, found.warnings) == ("the store", ())
    assert UNET in fetched


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def changed(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def missing(file: Path) -> None:
    file.unlink()


def a_link(file: Path) -> None:
    elsewhere = file.parent.parent / "elsewhere"
    file.rename(elsewhere)
    file.symlink_to(elsewhere)


def in_a_linked_folder(file: Path) -> None:
    elsewhere = file.parent.parent / "elsewhere"
    file.parent.rename(elsewhere)
    file.parent.symlink_to(elsewhere)


def a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (cut, "bytes and should have"),
        (changed, "another SHA-256"),
        (missing, "is missing, or a link"),
        (a_link, "is missing, or a link"),
        (in_a_linked_folder, "is missing, or a link"),
        (a_pipe, "is missing, or a link"),
    ],
)
def test_what_is_damaged_is_fetched_instead_and_told(
    damage: Callable[[Path], None],
    named: str,
    job: Job,
    bases: Path,
    tmp_path: Path,
    fetched: list[str],
    tiny_base: Path,
) -> None:
    damage(folder_of(job, bases) / UNET)
    found = fetch_base(job.assignment, tmp_path / "work", bases)
    affected = [name for name in fetched if name.startswith("unet/")]
    assert fetched == affected
    assert UNET in affected
    assert f"{len(affected)} of 10 files of baseModels/shapes in this node's folder" in found.warnings[0]
    assert named in found.warnings[0]
    assert found.source == "this node and the store"
    assert contents(found.path) == contents(tiny_base)


def test_a_damaged_folder_stands_in_the_report(job: Job, bases: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut(folder_of(job, bases) / UNET)
    monkeypatch.setenv("LORAMILL_TRAINER_BASES", str(bases))
    assert job.run() == 0
    assert "Fill the folder again" in job.file("report.html").read_text()
    assert "loading baseModels/shapes from this node and the store" in job.log()


def test_what_the_base_does_not_list_is_not_loaded(job: Job, bases: Path, tmp_path: Path, tiny_base: Path) -> None:
    (folder_of(job, bases) / "tokenizer" / "added_tokens.json").write_text('{"x": 1}')
    assert contents(fetch_base(job.assignment, tmp_path / "work", bases).path) == contents(tiny_base)


def fill(jobs: Jobs, bases: Path) -> int:
    return main(["fill-bases", "--into", str(bases), "--base-uri", f"{jobs.place.root}bases/shapes/"])


def test_filling_again_changes_nothing(
    jobs: Jobs, bases: Path, fetched: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (bases / "of-somebody-else").mkdir()
    assert fill(jobs, bases) == 0
    assert fetched == []
    assert capsys.readouterr().out.startswith("Found file://")
    assert (bases / "of-somebody-else").is_dir()


@pytest.mark.parametrize("damage", [cut, missing])
def test_filling_replaces_what_is_damaged(
    damage: Callable[[Path], None], jobs: Jobs, job: Job, filled: Path, bases: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(folder_of(job, bases) / UNET)
    assert fill(jobs, bases) == 0
    assert capsys.readouterr().out.startswith("Filled file://")
    assert contents(bases) == contents(filled)


def test_a_filler_that_was_killed_is_gone_on_with(
    jobs: Jobs, job: Job, filled: Path, bases: Path, fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rmtree(folder_of(job, bases))
    noted = FileStore.fetch

    class Killed(BaseException):
        pass

    def killed_at_the_unet(store: ObjectStore, key: str, path: Path) -> None:
        if key == UNET:
            raise Killed
        noted(store, key, path)

    with monkeypatch.context() as patch:
        patch.setattr(FileStore, "fetch", killed_at_the_unet)
        with pytest.raises(Killed):
            fill(jobs, bases)
    assert not folder_of(job, bases).exists(), "half a base model has no name"
    assert fill(jobs, bases) == 0
    assert len(fetched) == len(set(fetched)) == 10
    assert contents(bases) == contents(filled)


@pytest.mark.parametrize("uri", ["file:///nowhere/", "gopher://x/"])
def test_filling_from_nowhere_is_an_error_that_says_so(
    uri: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = v1.EXIT_CODE_USER_ERROR if uri.startswith("file") else v1.EXIT_CODE_STORAGE
    assert main(["fill-bases", "--into", str(tmp_path), "--base-uri", uri]) == expected
    said = capsys.readouterr().err
    assert uri in said
    assert "Traceback" not in said
