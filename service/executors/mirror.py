"""A kind of object of one namespace, kept in memory: one list, then one watch, for as long as the service runs.

Level-triggered: what counts is how an object stands, not what happened to it. Versions only grow (resourceVersions can be
compared as numbers, KEP-5504), so that changes told twice, too late or out of order never turn the clock back.
"""

from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING, Any, Generic, TypedDict, TypeVar

import msgspec
import structlog

from service.kubernetes_errors import Gone, KubernetesError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from service.kubernetes_api import KubernetesApi, Listing, Object, Resource
    from service.kubernetes_watch import WatchStream

log = structlog.get_logger(__name__)

Group = TypeVar("Group", bound="Hashable")

_RESYNC_S = 600.0
"""Seconds after which everything is listed again, whatever the watch says."""
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 10.0
"""Between attempts to list, after an error."""


class _Shape(TypedDict):
    """In which objects are asked for."""

    metadata_only: bool
    kept: type[Any]


class Mirror(Generic[Group]):
    """Safe to read from many threads while it is followed in one of its own."""

    def __init__(
        self,
        api: KubernetesApi,
        resource: Resource,
        namespace: str,
        group_of: Callable[[Object], Group | None],
        selector: str = "",
        *,
        metadata_only: bool = False,
        kept: type[Any] = dict,
        resync: float = _RESYNC_S,
    ) -> None:
        """`group_of` tells by what an object is asked for; one without is not kept. Of each the fields that the TypedDict `kept`
        has are kept. `resync` is in seconds.
        """
        self._api = api
        self._resource = resource
        self._namespace = namespace
        self._group_of = group_of
        self._selector = selector
        self._shape: _Shape = {"metadata_only": metadata_only, "kept": kept}
        self._resync = resync
        self._groups: dict[Group, dict[str, Object]] = {}
        self._versions: dict[str, int] = {}
        """The newest version heard of each name, of what is gone too."""
        self._lock = threading.Lock()
        self._heard = float("-inf")
        self._synced = threading.Event()
        self._stopped = threading.Event()
        self._watch: WatchStream | None = None
        self._thread: threading.Thread | None = None

    def of(self, group: Group) -> list[Object]:
        with self._lock:
            return list(self._groups.get(group, {}).values())

    def groups(self) -> list[Group]:
        with self._lock:
            return list(self._groups)

    def silent_for(self) -> float:
        """Seconds since the API server was last heard of; infinite before the first list."""
        with self._lock:
            return 0.0 if self._watch is not None else time.monotonic() - self._heard

    def write(self, found: Object) -> None:
        """Takes up what the API server has just answered to somebody here, before the watch tells of it."""
        self._take(msgspec.convert(found, self._shape["kept"]), gone=False)

    def start(self, changed: Callable[[Group], None] = lambda _: None) -> None:
        """`changed` hears, in the mirror's thread, of every group in which an object has come, changed or gone."""
        self._thread = threading.Thread(
            target=self._run, args=(changed,), name=f"mirror of {self._resource.plural}", daemon=True
        )
        self._thread.start()

    def wait_until_synced(self, seconds: float) -> bool:
        """Whether the first list came within that time."""
        return self._synced.wait(seconds)

    def stop(self) -> None:
        self._stopped.set()
        with self._lock:
            watch = self._watch
        if watch is not None:
            watch.close()
        if self._thread is not None:
            self._thread.join()

    def _run(self, changed: Callable[[Group], None]) -> None:
        wait = _FIRST_WAIT_S
        while not self._stopped.is_set():
            began, asked_to_wait = time.monotonic(), 0.0
            try:
                self._follow(self._listed(changed), changed)
            except Gone:
                log.info("too much has happened since; listing again", resource=self._resource.plural)
            except KubernetesError as error:
                asked_to_wait = error.retry_after or 0.0
                log.warning(
                    "the API server does not say what happens", resource=self._resource.plural, problem=str(error)
                )
            except Exception:
                log.exception("a change could not be taken up; listing again", resource=self._resource.plural)
            lasted = time.monotonic() - began
            wait = _FIRST_WAIT_S if lasted > _LONGEST_WAIT_S else min(2 * wait, _LONGEST_WAIT_S)
            self._stopped.wait(asked_to_wait + random.uniform(0, wait))

    def _listed(self, changed: Callable[[Group], None]) -> str:
        """Takes up a list; its version."""
        listing = self._api.list(self._resource, self._namespace, self._selector, **self._shape)
        groups = self._replace(listing)
        self._synced.set()
        for group in groups:
            changed(group)
        return listing.version

    def _follow(self, version: str, changed: Callable[[Group], None]) -> None:
        """Until it is time to list again. Raises Gone and other KubernetesErrors, after which it is too."""
        end = time.monotonic() + self._resync * random.uniform(0.8, 1.2)
        while time.monotonic() < end and not self._stopped.is_set():
            stream = self._api.watch(self._resource, self._namespace, version, self._selector, **self._shape)
            with self._lock:
                self._watch = stream
                if self._stopped.is_set():
                    stream.close()
            try:
                for kind, found in stream:
                    version = found["metadata"]["resourceVersion"]
                    if kind != "BOOKMARK" and self._take(found, gone=kind == "DELETED"):
                        group = self._group_of(found)
                        if group is not None:
                            changed(group)
            except Unavailable as error:  # what happens meanwhile is told to the next watch
                if not self._stopped.wait(random.uniform(0, _FIRST_WAIT_S)):
                    log.info("a watch broke off and goes on", resource=self._resource.plural, problem=str(error))
            finally:
                with self._lock:
                    self._watch, self._heard = None, time.monotonic()

    def _take(self, found: Object, *, gone: bool) -> bool:
        """Whether it was news."""
        group = self._group_of(found)
        name, version = found["metadata"]["name"], int(found["metadata"]["resourceVersion"])
        if group is None:
            return False
        with self._lock:
            if version <= self._versions.get(name, -1):
                return False
            self._versions[name] = version
            members = self._groups.setdefault(group, {})
            if gone:
                members.pop(name, None)
            else:
                members[name] = found
            if not members:
                del self._groups[group]
            return True

    def _replace(self, listing: Listing) -> set[Group]:
        """Makes the list what is known, but for what is known to be newer; the groups that this has changed."""
        at = int(listing.version)
        with self._lock:
            before = self._groups
            newer = {name: version for name, version in self._versions.items() if version > at}
            known = [found for members in before.values() for name, found in members.items() if name in newer]
            after: dict[Group, dict[str, Object]] = {}
            for found in (*(each for each in listing.items if each["metadata"]["name"] not in newer), *known):
                group = self._group_of(found)
                if group is not None:
                    after.setdefault(group, {})[found["metadata"]["name"]] = found
            self._groups = after
            self._versions = newer | {
                name: int(found["metadata"]["resourceVersion"])
                for members in after.values()
                for name, found in members.items()
            }
            self._heard = time.monotonic()
        return {group for group in before.keys() | after.keys() if before.get(group) != after.get(group)}
