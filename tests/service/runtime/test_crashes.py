"""The service dies at every one of its calls, before it or after it; a new one finds the record and brings the job to its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from loramill import v1
from service import indexes
from service.reconciler import Reconciler
from store.object_store import ObjectStore
from store.records import put_record
from tests.service.runtime.world import (
    JOB,
    KEYS,
    QUICK,
    SUCCESS,
    TENANT,
    MemoryStore,
    PretendedExecutor,
    Script,
    cancel,
    create_record,
    has_left,
    listed,
    outcome_of,
    running,
    submit,
    until,
)


class Died(BaseException):
    """The service is dead; nothing in it may catch this."""


class Mortal:
    """Calls of one service, counted over its store and executor; it dies at call `at`, and stays dead."""

    def __init__(self, at: int, after: bool) -> None:
        self.at, self.after, self.calls = at, after, 0

    def wrap(self, target: Any) -> Any:
        return _Wrapped(self, target)

    def call(self, method: Callable[..., Any], *arguments: Any) -> Any:
        self.calls += 1
        if self.calls > self.at or (self.calls == self.at and not self.after):
            raise Died
        result = method(*arguments)
        if self.calls == self.at:
            raise Died
        return result


class _Wrapped:
    def __init__(self, mortal: Mortal, target: Any) -> None:
        self._mortal, self._target = mortal, target

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        return (lambda *arguments: self._mortal.call(found, *arguments)) if callable(found) else found


async def live(store: ObjectStore, executor: Any) -> None:
    """What `run` does, without its clock: completes half-made jobs, then takes turns until the job has left."""
    indexes.sweep(store, TENANT)
    reconciler = Reconciler(store, executor, QUICK)
    for _ in range(50):
        if not list(indexes.active_jobs(store, TENANT)):
            return
        await reconciler.reconcile(TENANT, JOB)
    raise AssertionError("the job has not left after 50 turns")


def only_requested(store: ObjectStore) -> None:
    put_record(store, KEYS.request(JOB), create_record())


def cancelled_early(store: ObjectStore) -> None:
    submit(store)
    cancel(store)


SUCCEEDED, FAILED, CANCELLED = (
    v1.TRAINING_JOB_STATE_SUCCEEDED,
    v1.TRAINING_JOB_STATE_FAILED,
    v1.TRAINING_JOB_STATE_CANCELLED,
)
LIVES: list[Any] = [
    pytest.param(only_requested, SUCCESS, SUCCEEDED, 1, id="success"),
    pytest.param(submit, {1: ["claim", "exit 137"], 2: SUCCESS[1]}, SUCCEEDED, 2, id="launched-again"),
    pytest.param(submit, {1: ["claim", "adapter", "exit 137"]}, SUCCEEDED, 1, id="killed-after-the-commit"),
    pytest.param(submit, {1: ["claim", "adapter 000005", "end 64"]}, FAILED, 1, id="failure"),
    pytest.param(cancelled_early, SUCCESS, CANCELLED, 0, id="cancelled"),
]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("begin", "script", "state", "launches"), LIVES)
async def test_death_at_every_call(
    begin: Callable[[ObjectStore], None], script: Script, state: int, launches: int, after: bool
) -> None:
    at = 0
    while True:
        at += 1
        store, mortal = MemoryStore(), Mortal(at, after)
        executor = PretendedExecutor(store, script)
        begin(store)
        try:
            await live(mortal.wrap(store), mortal.wrap(executor))
            break
        except Died:
            await live(store, executor)
        assert outcome_of(store).state == state, f"died at call {at}"
        assert executor.starts == [(JOB, number) for number in range(1, launches + 1)], f"died at call {at}"
        assert listed(store, KEYS.job(JOB).launches_prefix) == [f"{n:06d}.json" for n in range(1, launches + 1)]
        assert len(listed(store, KEYS.ended_prefix)) == 1
        assert len(listed(store, KEYS.adapters_prefix)) == sum("adapter" in act for act in script[max(script)]) * (
            launches > 0
        )
        assert listed(store, KEYS.active_prefix) == []
    assert at > 15  # the calls were really counted


async def test_death_under_way_ends_the_run_and_a_new_one_goes_on() -> None:
    store, mortal = MemoryStore(), Mortal(30, after=True)
    executor = PretendedExecutor(store)
    submit(store)
    with pytest.raises(BaseException) as death:  # noqa: PT011 (Died, alone or in a group)
        await Reconciler(mortal.wrap(store), mortal.wrap(executor), QUICK).run()
    assert isinstance(death.value, Died) or death.value.subgroup(Died)  # type: ignore[attr-defined]
    async with running(Reconciler(store, executor, QUICK)):
        await until(has_left(store))
    assert executor.starts == [(JOB, 1)]
