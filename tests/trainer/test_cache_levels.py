"""The cache's two levels, what is read and written beside other work, and what waits on the disk."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from store import StoreError, open_store
from trainer.ahead import ahead
from trainer.cache import Cache
from trainer.cache_folder import near_cache
from trainer.progress import Pace
from trainer.tensor_file import TensorFile


def test_the_folder_of_the_machine_is_read_before_the_store(tmp_path: Path) -> None:
    store, near = (open_store(f"file://{tmp_path}/{name}/") for name in ("store", "near"))
    value = {"words": torch.ones(3)}
    Cache(store).put("words/a.safetensors", value)
    Cache(store, near).get("words/a.safetensors")
    store.delete("words/a.safetensors")
    found = Cache(store, near).get("words/a.safetensors")
    assert found is not None, "what was read once stays near"
    assert torch.equal(found["words"], value["words"])
    assert Cache(store).get("words/a.safetensors") is None


def test_a_folder_of_the_machine_that_cannot_be_used_costs_nothing_but_its_speed(tmp_path: Path) -> None:
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "words").write_text("a file where a folder should be")
    store, near = (open_store(f"file://{tmp_path}/{name}/") for name in ("store", "near"))
    cache = Cache(store, near)
    cache.put("words/a.safetensors", {"words": torch.ones(3)})
    assert cache.get("words/a.safetensors") is not None
    assert Cache(store).get("words/a.safetensors") is not None


def test_the_folder_of_the_machine_stays_within_its_bound_and_tenants_stay_apart(tmp_path: Path) -> None:
    for number in range(4):
        path = tmp_path / f"old/{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(1000))
        os.utime(path, (number, number))
    assert near_cache(tmp_path, "file:///a/caches/", 1) is None, "a store in a folder is near enough"
    one, other = (near_cache(tmp_path, f"s3://b/{tenant}/caches/", 2000 / 2**30) for tenant in ("a", "b"))
    assert [path.name for path in sorted(tmp_path.glob("old/*"))] == ["2", "3"], "the oldest go first"
    assert one is not None
    assert other is not None
    Cache(one).put("words/a.safetensors", {"words": torch.ones(3)})
    assert Cache(other).get("words/a.safetensors") is None


def test_many_are_read_at_once_and_come_in_order(tmp_path: Path) -> None:
    cache = Cache(open_store(f"file://{tmp_path}/"))
    keys = [cache.key("words", number=number) for number in range(50)]
    with cache.writing() as writer:
        for number, key in enumerate(keys[::2]):
            writer.put(key, {"words": torch.full((2,), number)})
    found = list(cache.get_all(keys))
    assert [key for key, _ in found] == keys
    assert [None if value is None else value["words"][0].item() for _, value in found] == [
        None if number % 2 else number // 2 for number in range(50)
    ]
    assert (cache.hits, cache.misses) == (25, 25)


def test_a_write_that_fails_is_told(tmp_path: Path) -> None:
    (tmp_path / "words").write_text("a file where a folder should be")
    cache = Cache(open_store(f"file://{tmp_path}/"))
    with pytest.raises(StoreError), cache.writing() as writer:
        writer.put("words/a.safetensors", {"words": torch.ones(3)})


def test_tensors_wait_on_the_disk(tmp_path: Path) -> None:
    kept: TensorFile[str] = TensorFile(tmp_path)
    kept["a"] = {"mean": torch.arange(6.0).reshape(2, 3), "logvar": torch.zeros(2, 3, dtype=torch.bfloat16)}
    kept["b"] = {"mean": torch.ones(1)}
    kept.alias("c", "a")
    assert torch.equal(kept["c"]["mean"], torch.arange(6.0).reshape(2, 3))
    assert kept["a"]["logvar"].dtype == torch.bfloat16
    assert kept["b"]["mean"].tolist() == [1]
    assert list(kept) == ["a", "b", "c"]
    assert not list(tmp_path.iterdir()), "the file has no name that a killed process could leave behind"


def test_work_ahead_stays_within_its_room_and_tells_its_errors() -> None:
    made: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number
        raise ValueError("no more")

    with ahead(numbers(), 3) as items:
        assert next(items) == 0
        assert len(made) <= 6
    assert len(made) < 100, "leaving ends the thread"
    with pytest.raises(ValueError, match="no more"), ahead(numbers(), 3) as items:
        list(items)


@pytest.mark.parametrize(
    ("done", "seconds", "told"),
    [(0, 9.0, ""), (10, 1.0, ""), (10, 5.0, ", 2 a second, 45 s left"), (100, 50.0, "")],
)
def test_a_pace_is_told_when_it_means_something(done: int, seconds: float, told: str) -> None:
    assert Pace("encoding pictures", 0, 100.0).told(done, 100, 100.0 + seconds) == told
