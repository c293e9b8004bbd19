"""What a pass removes and what it lets alone: by itself, killed at any moment, and while others work."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loramill import v1
from service import indexes
from service.direct_uploads import MOST_FILES
from service.keys import BaseKeys, audit_prefix
from service.retention import GRACE, Kind, Retention
from service.times import to_timestamp
from store.records import put_record
from tests.service.runtime.retention_world import CALLER, DAY, HOUR, KEYS, World
from tests.service.runtime.world import TENANT

YEARS = 2000 * DAY


def test_nothing_that_is_young_goes() -> None:
    world = World()
    world.ended_job(world.dataset())
    world.dataset(finalized=False)
    world.store.put_new(f"{KEYS.caches}latents/x", b"")
    before = world.keys()
    world.pass_time(20 * HOUR)
    world.collect()
    assert world.keys() == before
    assert not world.removed.objects


def test_checkpoints_go_a_week_after_the_end_and_logs_later_and_the_job_and_its_adapter_stay() -> None:
    world = World()
    job = world.ended_job()
    world.pass_time(8 * DAY)
    world.collect()
    assert world.checkpoints(job) == {}
    assert world.removed.objects == {Kind.CHECKPOINT: 2}
    world.pass_time(83 * DAY)
    world.collect()
    assert world.removed.objects == {Kind.CHECKPOINT: 2, Kind.LOG: 1, Kind.METRICS: 1}
    world.pass_time(YEARS)
    world.collect()
    assert world.jobs.get(TENANT, job).state == v1.TRAINING_JOB_STATE_SUCCEEDED
    assert world.adapters.get(TENANT, f"{job}-000001").step == 1


def test_a_job_that_lives_is_let_alone_however_old_it_is() -> None:
    world = World()
    dataset = world.dataset()
    job = world.job(dataset)
    before = set(world.keys())
    world.pass_time(YEARS)
    world.collect()
    gone = before - set(world.keys())
    assert {key.split("/")[1] for key in gone} <= {"audit"}
    assert world.living_is_whole(job)


def test_whole_jobs_go_where_the_operator_says_so_and_their_adapters_stay() -> None:
    world = World(Retention(jobs=timedelta(days=30)))
    job = world.ended_job()
    world.pass_time(31 * DAY)
    world.collect()
    assert [key for key in world.keys(KEYS.job(job).root) if "/adapters/" not in key] == [KEYS.job(job).tombstone]
    assert world.adapters.get(TENANT, f"{job}-000001")
    assert any(b'"collector"' in world.store.objects[key] for key in world.keys(audit_prefix(TENANT)))
    world.check()


def test_adapters_go_only_where_the_operator_says_so_and_none_that_a_living_job_goes_on_from() -> None:
    world = World(Retention(adapters=timedelta(days=30), jobs=None))
    used, unused = world.ended_job(), world.ended_job()
    spec = v1.TrainingSpec()
    spec.adapter.initial_adapter = f"adapters/{used}-000001"
    record = v1.CreateRecord(job_id="0" * 16, spec=spec, create_time=to_timestamp(world.clock()))
    put_record(world.store, KEYS.request("r"), record)
    indexes.accept(world.store, TENANT, KEYS.request("r"), record)
    world.pass_time(YEARS)
    world.collect()
    assert world.adapters.find(TENANT, f"{used}-000001") is not None
    assert world.adapters.find(TENANT, f"{unused}-000001") is None


def test_what_is_disposable_goes_by_its_age() -> None:
    world = World()
    olds = {
        Kind.CACHE: f"{KEYS.caches}latents/x",
        Kind.UPLOAD: KEYS.upload("set", "ab" * 32),
        Kind.AUDIT: f"{audit_prefix(TENANT)}x.json",
        Kind.PROBE: "_probe/x",
    }
    for key in olds.values():
        world.store.put_new(key, b"x")
    world.pass_time(500 * DAY)
    for key in olds.values():
        world.store.put_new(f"{key}.young", b"x")
    world.collect()
    assert world.keys() == sorted(f"{key}.young" for key in olds.values())
    assert world.removed.objects == dict.fromkeys(olds, 1)


def test_a_dataset_that_is_never_finalized_goes_a_week_after_its_last_file() -> None:
    world = World()
    dataset = world.dataset(finalized=False)
    world.pass_time(6 * DAY)
    world.add_file(dataset, b"late")
    world.pass_time(6 * DAY)
    world.collect()
    assert world.datasets.find(TENANT, dataset) is not None
    world.pass_time(2 * DAY)
    world.collect()
    assert world.keys(KEYS.dataset(dataset).root) == [KEYS.dataset(dataset).tombstone]
    assert MOST_FILES >= world.removed.objects[Kind.DATASET] > 0


def test_blobs_that_came_too_late_for_a_finalized_dataset_go() -> None:
    world = World()
    dataset = world.dataset(b"in")
    world.store.put_new(KEYS.dataset(dataset).blob("late"), b"late")
    world.pass_time(2 * DAY)
    world.collect()
    assert world.removed.objects == {Kind.BLOB: 1}
    world.check()


def test_an_interrupted_deletion_is_completed_unless_a_job_uses_the_dataset() -> None:
    world = World()
    used, unused = world.dataset(), world.dataset()
    job = world.job(used)
    for dataset in (used, unused):
        put_record(world.store, KEYS.dataset(dataset).tombstone, v1.Tombstone(create_time=to_timestamp(world.clock())))
    world.pass_time(2 * DAY)
    world.collect()
    assert len(world.keys(KEYS.dataset(used).root)) > 1
    assert world.keys(KEYS.dataset(unused).root) == [KEYS.dataset(unused).tombstone]
    world.end(job)
    world.collect()
    assert world.keys(KEYS.dataset(used).root) == [KEYS.dataset(used).tombstone]


def test_an_import_that_never_ended_goes_claim_last_and_a_whole_base_stays() -> None:
    world = World()
    half, whole = BaseKeys("half"), BaseKeys("whole")
    for base in (half, whole):
        put_record(world.store, base.claim, v1.BaseModelRecord())
        world.store.put_new(f"{base.files}unet.safetensors", b"x")
    put_record(world.store, whole.record, v1.BaseModelRecord())
    world.pass_time(8 * DAY)
    gone = _deletions(world, world.collect)
    assert gone == [f"{half.files}unet.safetensors", half.claim]


def test_what_was_deleted_is_forgotten_requests_first_and_a_replay_never_brings_it_back() -> None:
    world = World()
    job = world.ended_job()
    world.jobs.delete(CALLER, job, delete_adapters=True)
    world.pass_time(89 * DAY)
    world.collect()
    assert KEYS.request(job) in world.store.objects
    world.pass_time(2 * DAY)
    world.collect()
    assert KEYS.request(job) not in world.store.objects
    assert KEYS.job(job).tombstone in world.store.objects, "one pass later"
    world.replay(job)
    indexes.sweep(world.store, TENANT)
    world.collect()
    assert world.keys(KEYS.job(job).root) == []
    indexes.sweep(world.store, TENANT)
    assert world.keys(KEYS.active_prefix) == []


def test_a_request_record_that_cannot_be_read_keeps_every_tombstone() -> None:
    world = World()
    job = world.ended_job()
    world.jobs.delete(CALLER, job, delete_adapters=True)
    world.store.put_new(KEYS.request("broken"), b"no JSON")
    world.pass_time(YEARS)
    for _ in range(3):
        world.collect()
    assert KEYS.job(job).tombstone in world.store.objects


def test_a_record_that_cannot_be_read_stops_nothing_else() -> None:
    world = World()
    broken, fine = world.ended_job(), world.ended_job()
    world.store.objects[KEYS.job(broken).outcome] = b"no JSON"
    world.pass_time(8 * DAY)
    world.collect()
    assert world.checkpoints(broken)
    assert not world.checkpoints(fine)


def test_a_dry_run_removes_and_counts_nothing() -> None:
    world = World(Retention(dry_run=True, jobs=timedelta(days=30), adapters=timedelta(days=30)))
    world.ended_job(world.dataset())
    world.dataset(finalized=False)
    world.store.put_new(f"{KEYS.caches}x", b"")
    world.pass_time(YEARS)
    before = world.keys()
    world.collect()
    assert world.keys() == before
    assert not world.removed.objects


def test_a_cache_entry_that_is_written_again_after_it_was_listed_stays() -> None:
    world = World()
    keys = [f"{KEYS.caches}{number}" for number in range(3)]
    for key in keys:
        world.store.put_new(key, b"old")
    world.pass_time(31 * DAY)

    def renew() -> None:
        world.store.objects[keys[2]], world.store.written[keys[2]] = b"new", world.clock()

    gone = _deletions(world, world.collect, on_first=renew)
    assert gone == keys[:2]


class Died(BaseException):
    """The service is dead; nothing in it may catch this."""


def full_world() -> World:
    """One of everything that is over, beside what must stay."""
    world = World(Retention(jobs=timedelta(days=40), adapters=timedelta(days=60)))
    old = world.ended_job(world.dataset())
    world.jobs.delete(CALLER, old, delete_adapters=True)
    world.dataset(finalized=False)
    world.pass_time(61 * DAY)
    world.ended_job(world.dataset(b"a", b"b"))
    world.pass_time(41 * DAY)
    world.ended_job(world.dataset(b"c"))
    world.store.put_new(f"{KEYS.caches}x", b"")
    world.pass_time(31 * DAY)
    return world


def test_a_pass_killed_before_any_of_its_changes_leaves_nothing_half_made_and_the_next_ones_complete_it() -> None:
    undisturbed = full_world()
    undisturbed.job(undisturbed.dataset(b"d"))
    _passes(undisturbed)
    survived, changes = False, 0
    while not survived:
        world = full_world()
        living = world.job(world.dataset(b"d"))
        survived = _survives(world, changes)
        world.check()
        assert world.living_is_whole(living)
        world.replay(living)
        _passes(world)
        assert len(_comparable(world)) == len(_comparable(undisturbed))
        changes += 1
    assert changes > 20


def _survives(world: World, changes: int) -> bool:
    """Whether a pass comes to its end that is killed before it changes anything more than so many times."""

    def die_or_count() -> None:
        nonlocal changes
        if changes == 0:
            raise Died
        changes -= 1

    world.store.before_change = die_or_count
    try:
        world.collect()
    except Died:
        return False
    finally:
        world.store.before_change = lambda: None
    return True


def _passes(world: World) -> None:
    for _ in range(3):
        world.collect()
        world.pass_time(GRACE)
    world.check()


def _comparable(world: World) -> list[str]:
    """All but audit records, of which a repetition writes more."""
    return [key for key in world.keys("") if "/audit/" not in key]


ACTS = ["save", "end", "create", "upload", "finalize", "replay", "cache", "sweep", "delete", "hour", "zombie"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    acts=st.lists(st.tuples(st.integers(0, 12), st.sampled_from(ACTS)), max_size=40),
    ages=st.lists(st.integers(0, 120), min_size=1, max_size=4),
)
def test_others_work_between_any_two_calls_of_a_pass(acts: list[tuple[int, str]], ages: list[int]) -> None:
    """`acts` are (calls of the collector to wait, what somebody then does); `ages` are days that jobs are apart."""
    world = World(Retention(jobs=timedelta(days=30)))
    others = Others(world)
    for days in ages:
        others.act("create")
        others.act("end")
        world.pass_time(days * DAY)
    others.act("create")
    pending, wait = list(acts), 0

    def before() -> None:
        nonlocal wait
        while pending and wait >= pending[0][0]:
            world.store.before = lambda: None
            others.act(pending.pop(0)[1])
            world.store.before, wait = before, 0
        wait += 1

    world.store.before = before
    for _ in range(3):
        world.collect()
        others.check()
    world.store.before = lambda: None
    others.check()


class Others:
    """Callers, runs and reconcilers."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.living: list[str] = []
        self.ended: list[str] = []
        self.open: list[str] = []
        self.steps = 1

    def act(self, what: str) -> None:
        world = self.world
        match what:
            case "create":
                self.living.append(world.job(world.dataset()))
            case "save" if self.living:
                self.steps += 1
                world.write(self.living[-1], self.steps)
            case "end" if self.living:
                self.ended.append(self.living.pop(0))
                world.end(self.ended[-1])
            case "zombie" if self.ended:
                self.steps += 1
                world.write(self.ended[-1], self.steps)
            case "upload":
                self.open.append(world.dataset(b"new", finalized=False))
            case "finalize" if self.open:
                world.datasets.finalize(CALLER, self.open.pop())
            case "replay":
                for job in [*self.living, *self.ended]:
                    world.replay(job)
            case "sweep":
                indexes.sweep(world.store, TENANT)
            case "delete" if self.ended:
                world.jobs.delete(CALLER, self.ended.pop(0), delete_adapters=False)
            case "cache":
                world.store.put_status(f"{KEYS.caches}x", b"value")
            case "hour":
                world.pass_time(HOUR)

    def check(self) -> None:
        self.world.check()
        for job in self.living:
            assert self.world.living_is_whole(job)
        for dataset in self.open:
            assert self.world.datasets.find(TENANT, dataset) is not None


def _deletions(world: World, act: Callable[[], None], on_first: Callable[[], None] = lambda: None) -> list[str]:
    """The keys that were deleted meanwhile, in order."""
    gone: list[str] = []
    delete = world.store.delete

    def noted(key: str) -> None:
        if not gone:
            on_first()
        gone.append(key)
        delete(key)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.store, "delete", noted)
        act()
    return gone
