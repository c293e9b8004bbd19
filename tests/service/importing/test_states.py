"""How imports stand while they go on, when they die, and when several ask at once."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from loramill import v1
from service.audit import Audit
from service.base_imports import BaseImports
from service.bases import Bases
from service.caller import Caller
from service.errors import InvalidRequest, Refused
from service.executors import ExecutorError
from service.import_states import ImportStates
from service.importing.launching import Seen
from service.importing.settings import ImportSettings
from service.importing.work import run_import, workshop
from service.keys import BaseKeys
from store.files import FileStore
from tests.service.api.tiny_base import write_base

CALLER = Caller("local", "test", "/test", "call")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Launcher:
    """Starts nothing by itself."""

    seen: Seen = field(default_factory=lambda: Seen(alive=None))
    """Of the first import; later ones are alive."""
    started: list[tuple[str, int]] = field(default_factory=list)
    broken: bool = False

    def start(self, base: str, number: int, request: v1.ImportBaseModelRequest) -> None:
        assert request.base_model_id == base
        if self.broken:
            raise ExecutorError("no cluster")
        self.started.append((base, number))

    def observe(self, base: str, number: int, request: v1.ImportBaseModelRequest) -> Seen:
        del base, request
        return self.seen if number == 1 else Seen(alive=True)


@dataclass
class World:
    root: Path
    launcher: Launcher = field(default_factory=Launcher)
    now: datetime = NOW

    def __post_init__(self) -> None:
        self.store = FileStore(self.root / "store")
        self.settings = ImportSettings(folders=(self.root / "models",))
        states = ImportStates(self.store, self.launcher, self.clock)
        self.bases = Bases(self.store, states, self.clock)
        self.imports = BaseImports(
            self.store, self.bases, self.launcher, Audit(self.store), self.settings, clock=self.clock, answer_s=0.05
        )

    def clock(self) -> datetime:
        return self.now

    def ask(self, name: str = "it") -> v1.BaseModel:
        uri = (self.root / "models" / name).as_uri()
        return self.imports.import_(CALLER, v1.ImportBaseModelRequest(base_model_id="mine", source_uri=uri))

    def work(self, number: int) -> None:
        shop = workshop(self.store, self.root / "work", self.settings)
        run_import(shop, "mine", number, threading.Event())


@pytest.fixture
def world(tmp_path: Path) -> World:
    write_base(tmp_path / "models/it")
    return World(tmp_path)


def test_what_takes_long_is_answered_as_it_stands_and_told_as_it_goes(world: World) -> None:
    base = world.ask()
    assert (base.state, base.last_import.number) == (v1.BASE_MODEL_STATE_IMPORTING, 1)
    assert base.last_import.state == v1.BASE_MODEL_IMPORT_STATE_RUNNING
    assert world.bases.find("mine") is None
    assert [model.name for model in world.bases.page(v1.ListBaseModelsRequest()).base_models] == ["baseModels/mine"]
    world.launcher.seen = Seen(alive=True, message="No node of the cluster fits.")
    assert world.bases.get("mine").last_import.message == "No node of the cluster fits."
    world.work(1)
    done = world.bases.get("mine")
    assert (done.state, done.last_import.state) == (v1.BASE_MODEL_STATE_READY, v1.BASE_MODEL_IMPORT_STATE_SUCCEEDED)
    assert done.last_import.phase == v1.BASE_MODEL_IMPORT_PHASE_STORING
    assert done.last_import.bytes_done == done.last_import.bytes_total == done.size_bytes


def test_the_same_request_joins_and_another_one_waits(world: World) -> None:
    world.ask()
    assert world.ask().last_import.number == 1
    assert world.launcher.started == [("mine", 1)]
    with pytest.raises(Refused, match="is being imported from"):
        world.ask("other")


@pytest.mark.parametrize(
    ("seen", "seconds"), [(Seen(alive=False, message="Its pod ran out of memory."), 6), (Seen(alive=None), 61)]
)
def test_one_that_died_without_a_word_has_failed_and_can_be_asked_for_again(
    world: World, seen: Seen, seconds: int
) -> None:
    world.ask()
    world.launcher.seen, world.now = seen, NOW + timedelta(seconds=seconds - 2)
    assert world.bases.get("mine").state == v1.BASE_MODEL_STATE_IMPORTING
    world.now += timedelta(seconds=2)
    base = world.bases.get("mine")
    assert (base.state, base.last_import.problems[0].reason) == (v1.BASE_MODEL_STATE_FAILED, "INTERRUPTED")
    assert "import it again" in base.last_import.message
    assert not world.bases.page(v1.ListBaseModelsRequest()).base_models
    assert world.ask().last_import.number == 2
    world.work(1)  # a zombie stores the same content, and spoils nothing
    world.work(2)
    assert world.bases.get("mine").state == v1.BASE_MODEL_STATE_READY


def test_one_that_is_alive_is_never_given_up_for_its_silence(world: World) -> None:
    world.ask()
    world.launcher.seen, world.now = Seen(alive=True), NOW + timedelta(days=1)
    assert world.bases.get("mine").state == v1.BASE_MODEL_STATE_IMPORTING


def test_one_that_could_not_be_begun_says_so(world: World) -> None:
    world.launcher.broken = True
    with pytest.raises(ExecutorError):
        world.ask()
    assert "could not be begun: no cluster" in world.bases.get("mine").last_import.message


def test_one_that_is_told_to_stop_says_so_and_leaves_no_base(world: World) -> None:
    world.ask()
    stopped = threading.Event()
    stopped.set()
    run_import(workshop(world.store, world.root / "work", world.settings), "mine", 1, stopped)
    base = world.bases.get("mine")
    assert (base.state, base.last_import.problems[0].reason) == (v1.BASE_MODEL_STATE_FAILED, "INTERRUPTED")


def test_an_import_runs_once(world: World) -> None:
    world.ask()
    world.work(1)
    first = world.store.get(BaseKeys("mine").import_(1).end)
    world.work(1)
    assert world.store.get(BaseKeys("mine").import_(1).end) == first


def test_what_a_cluster_cannot_import_together_is_refused(world: World) -> None:
    settings = ImportSettings(folders=world.settings.folders, hub_endpoint="http://127.0.0.1:9")
    imports = BaseImports(
        world.store, world.bases, world.launcher, Audit(world.store), settings, mixed=False, answer_s=0.05
    )
    request = v1.ImportBaseModelRequest(base_model_id="mine", source_uri="hf://art/base")
    request.vae_source_uri = (world.root / "models/it").as_uri()
    with pytest.raises(InvalidRequest, match="read where source_uri cannot be"):
        imports.import_(CALLER, request)
    assert world.launcher.started == []
