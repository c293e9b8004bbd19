"""Whether sessions really are limited, found out by trying: some stores take a session policy and do not look at it."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Iterator

from service.trainer_grants import Grants
from store.object_store import AccessRefused, NotFound, ObjectStore, StoreError, UnsuitableStore
from store.probe import PROBE_PREFIX


def probe_sessions(open_store: Callable[[Grants], ObjectStore], store: ObjectStore) -> None:
    """Opens the store with the rights of one folder, and tries what they must allow, and what they must not.

    `store` has the service's own rights. Raises UnsuitableStore with everything that is wrong, or StoreUnavailable.
    Leaves nothing behind.
    """
    folder = f"{PROBE_PREFIX}{uuid.uuid4().hex}/"
    own, other = f"{folder}tenant-a/", f"{folder}tenant-ab/"
    used = [f"{place}{name}" for place in (own, other) for name in ("there", "new")]
    try:
        for key in used[::2]:
            store.put_new(key, b"there")
        session = open_store(Grants(read=(own,), write=(own,), change=(own,)))
        lacking = list(_lacking(session, own))
        exceeding = list(_exceeding(session, other))
    finally:
        for key in used:
            with contextlib.suppress(StoreError):
                store.delete(key)
    if lacking:
        raise UnsuitableStore(
            f"{store.uri}: a session of the trainers' role may not {', '.join(lacking)} in its own folder; "
            "grant the role reading, writing, deleting and listing of the bucket"
        )
    if exceeding:
        raise UnsuitableStore(
            f"{store.uri} does not keep to session policies: a trainer could {', '.join(exceeding)} of another tenant. "
            "Use a store that does, or see docs/storage.md for what to say if every trainer may use everything"
        )


def _lacking(session: ObjectStore, own: str) -> Iterator[str]:
    def listed() -> None:
        if not list(session.list(own)):
            raise NotFound(own)

    tries: list[tuple[str, Callable[[], object]]] = [
        ("read", lambda: session.get(f"{own}there")),
        ("create", lambda: session.put_new(f"{own}new", b"new")),
        ("replace", lambda: session.put_status(f"{own}new", b"newer")),
        ("list", listed),
        ("delete", lambda: session.delete(f"{own}new")),
    ]
    for what, act in tries:
        try:
            act()
        except (AccessRefused, NotFound):
            yield what


def _exceeding(session: ObjectStore, other: str) -> Iterator[str]:
    """What the session can do in a folder whose name begins like its own, and above both."""
    tries: list[tuple[str, Callable[[], object]]] = [
        ("read objects", lambda: session.get(f"{other}there")),
        ("list objects", lambda: list(session.list(other))),
        ("list objects by a part of the name", lambda: list(session.list(other[: -len("b/")]))),
        ("list everything", lambda: list(session.list())),
        ("create objects", lambda: session.put_new(f"{other}new", b"new")),
        ("replace objects", lambda: session.put_status(f"{other}there", b"replaced")),
        ("delete objects", lambda: session.delete(f"{other}there")),
    ]
    for what, act in tries:
        with contextlib.suppress(AccessRefused):
            act()
            yield what
