"""What an S3 store does of that which Loramill builds on, and how fast: one column of the table in docs/storage.md.

python -m bench.stores BUCKET [--role ARN] [--megabytes 256] [--rounds 50]

The store is reached as the service reaches it, by AWS's environment variables. Leaves nothing behind.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from service.credential_settings import AssumedRole
from service.trainer_credentials import credential_source
from store import AlreadyExists, StoreError
from store.probe import probe
from store.s3 import S3Store

SMALLEST_PART = 5 << 20
"""Bytes: the smallest part that S3 takes."""


@dataclass(frozen=True)
class Place:
    """Where in the bucket it is tried, and a local folder to work in."""

    bucket: str
    folder: str
    work: Path

    def store(self, **more: int) -> S3Store:
        return S3Store(self.bucket, self.folder, **more)  # type: ignore[arg-type]


def seconds(act: Callable[[], object]) -> float:
    start = time.perf_counter()
    act()
    return time.perf_counter() - start


def judged(act: Callable[[], object]) -> str:
    """How long it took, or why it cannot be done."""
    try:
        return f"yes, in {seconds(act):.2f} s"
    except StoreError as error:
        return f"no: {error}"


def rounds_with_one_winner(store: S3Store, content: bytes | Path, contenders: int, rounds: int) -> str:
    """In each round so many create one key at once. Whoever is not told that it exists already has won."""

    def create(key: str, start: threading.Barrier) -> bool:
        start.wait()
        with contextlib.suppress(AlreadyExists):
            store.put_new(key, content)
            return True
        return False

    with ThreadPoolExecutor(contenders) as threads:
        won = []
        for _ in range(rounds):
            key, start = uuid.uuid4().hex, threading.Barrier(contenders)
            won.append(sum(threads.map(lambda _, key=key, start=start: create(key, start), range(contenders))))
    return f"{won.count(1)} of {rounds}"


def what_it_does(place: Place, role: str | None, rounds: int) -> Iterator[tuple[str, str]]:
    store = place.store()
    yield "passes the probe at the start", judged(lambda: probe(store))
    yield "rounds of 16 racing PUTs with one winner", rounds_with_one_winner(store, b"content", 16, rounds)
    large = place.work / "large"
    large.write_bytes(os.urandom(2 * SMALLEST_PART + 1))
    in_parts = place.store(part_size=SMALLEST_PART)
    yield "rounds of 4 racing uploads in parts with one winner", rounds_with_one_winner(in_parts, large, 4, rounds)
    if role is not None:
        source = credential_source(AssumedRole(role_arn=role), store.uri)
        yield "sessions keep to their policy", judged(lambda: source.check(store, ["tenant"]))


def how_fast(place: Place, megabytes: int) -> Iterator[tuple[str, str]]:
    content = place.work / "content"
    content.write_bytes(os.urandom(megabytes << 20))
    store = place.store()
    acts: list[tuple[str, Callable[[], object]]] = [
        ("sent in parts, 4 at once", lambda: store.put_new("content", content)),
        ("fetched in one stream", lambda: (place.work / "stream").write_bytes(store.get("content"))),
        ("fetched in ranges, 8 at once", lambda: store.fetch("content", place.work / "ranges")),
    ]
    for what, act in acts:
        yield f"{megabytes} MiB {what}", f"{(megabytes << 20) / seconds(act) / 1e6:.0f} MB/s"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.stores", description=__doc__.partition("\n")[0])
    parser.add_argument("bucket")
    parser.add_argument("--role", help="ARN of the trainers' role, to try its sessions")
    parser.add_argument("--megabytes", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=50)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        place = Place(options.bucket, f"bench-{uuid.uuid4().hex[:8]}", Path(work))
        try:
            for rows in (what_it_does(place, options.role, options.rounds), how_fast(place, options.megabytes)):
                for what, found in rows:
                    print(f"| {what} | {found} |", flush=True)
        finally:
            for left in place.store().list():
                place.store().delete(left.key)


if __name__ == "__main__":
    main()
