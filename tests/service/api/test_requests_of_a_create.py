"""What a create costs the store: four records that are written one after the other, and two reads of what may have changed."""

from __future__ import annotations

import threading

import pytest

from loramill import v1
from store.object_store import ObjectStore
from tests.service.api.api import Api

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Spied:
    """Hears of the store's reads, writes and listings but for those of the reconciler, which looks at jobs all the while."""

    def __init__(self, store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
        self.requests: list[tuple[str, str]] = []
        self._lock = threading.Lock()
        for verb in ("get", "put_new", "put_status", "list", "info"):
            monkeypatch.setattr(store, verb, self._heard(verb, getattr(store, verb)))

    def _heard(self, verb: str, act: object) -> object:
        def ask(key: str = "", *arguments: object) -> object:
            with self._lock:
                self.requests.append((verb, key))
            return act(key, *arguments)  # type: ignore[operator]

        return ask

    def of_the_call(self) -> list[str]:
        """Verb and the part of the key that tells what it is."""
        with self._lock:
            found = [
                f"{verb} {key.split('/')[-1] if '/control/' in key or '/datasets/' in key else key.split('/')[1]}"
                for verb, key in self.requests
                if not (verb != "put_new" and "/jobs/" in key)
                and "/admission" not in key
                and not (verb == "list" and key.startswith("_shared/active"))
            ]
        return [request for request in found if "launches" not in request and not request.endswith("000001.json")]


async def test_a_create_writes_four_records_and_reads_two(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = await api.spec()
    await api.training.CreateTrainingJob(v1.CreateTrainingJobRequest(spec=spec, request_id="first"))
    spied = Spied(api.service.store, monkeypatch)
    await api.training.CreateTrainingJob(v1.CreateTrainingJobRequest(spec=spec, request_id="second"))
    assert spied.of_the_call() == [
        "get requests",
        "get tombstone.json",
        "put_new audit",
        "put_new requests",
        "put_new job.json",
        "put_new active",
    ]
