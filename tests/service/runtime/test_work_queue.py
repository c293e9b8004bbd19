from __future__ import annotations

import asyncio

from service.work_queue import WorkQueue


async def taken(queue: WorkQueue[str]) -> list[str]:
    keys: list[str] = []
    while True:
        try:
            keys.append(await asyncio.wait_for(queue.take(), 0.01))
        except TimeoutError:
            return keys


async def test_a_key_stands_in_the_queue_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in "abab":
        queue.add(key)
    assert await taken(queue) == ["a", "b"]


async def test_a_key_is_never_in_two_hands_and_no_wish_is_lost() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    assert await taken(queue) == ["a"]
    queue.add("a")
    queue.add("a")
    assert await taken(queue) == []
    queue.done("a")
    assert await taken(queue) == ["a"]
    queue.done("a")
    assert await taken(queue) == []
