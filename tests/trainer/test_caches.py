"""What was computed once from the same bytes is not computed again, and never taken for anything else."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from loramill import v1
from store import open_store
from tests.trainer.jobs import Job, Jobs, small_dataset
from trainer import prior, run
from trainer.cache import Cache
from trainer.errors import Preempted
from trainer.loop import Training

PRIOR = {"captions": ["a red star", "a blue star"], "images": 4}


@dataclass
class Seen:
    """What a run's preparation did: its cache, and the training that came of it."""

    caches: list[Cache] = field(default_factory=list)
    trainings: list[Training] = field(default_factory=list)

    def prepared(self, job: Job) -> tuple[int, int]:
        """Prepares the job and stops; (hits, misses) of its cache."""
        assert job.run() == v1.EXIT_CODE_PREEMPTED
        return self.caches[-1].hits, self.caches[-1].misses


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    kept = Seen()

    class KeptCache(Cache):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments)
            kept.caches.append(self)

    def look(training: Training, *_: object) -> float:
        kept.trainings.append(training)
        raise Preempted("seen enough")

    monkeypatch.setattr(run, "Cache", KeptCache)
    monkeypatch.setattr(run, "train", look)
    return kept


def test_a_second_job_of_the_same_data_computes_nothing(
    jobs: Jobs, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = {
        "dataset": {"flip_probability": 0.5},
        "concept": {"prior_preservation": PRIOR},
        "previews": {"inference_steps": 1},
    }

    def job(name: str, more: dict[str, object] | None = None, dataset: str = "d") -> Job:
        return jobs.new(f"caches {name}", {**change, **(more or {})}, dataset=dataset, caches="caches of their own")

    def kept() -> Counter[str]:
        """How many values of each kind there are."""
        return Counter(path.parent.name for path in jobs.place.folder.glob("caches of their own/*/*.safetensors"))

    # Four pictures, each also mirrored; captions of data, prior and previews; one batch of prior latents.
    seen.prepared(job("first"))
    first = kept()
    assert (first["latents"], first["prior"]) == (8, 1)
    assert first["words"] >= 2 + 2
    with monkeypatch.context() as patch:
        patch.setattr(prior, "draw_latents", None)
        assert seen.prepared(job("second"))[1] == 0
    assert kept() == first
    one, other = seen.trainings
    for key, posterior in one.posteriors.items():
        assert torch.equal(posterior.mean, other.posteriors[key].mean)
        assert torch.equal(posterior.logvar, other.posteriors[key].logvar)
    assert all(torch.equal(mine.latents, theirs.latents) for mine, theirs in zip(one.prior, other.prior, strict=True))
    plain, mirrored = (one.posteriors[one.examples[0].id, mirror, 0].mean for mirror in (False, True))
    assert not torch.equal(plain, mirrored)

    files = small_dataset()
    files["3.png"] = small_dataset(5)["4.png"]
    jobs.place.put_dataset("changed", files)
    assert seen.prepared(job("changed picture", dataset="changed"))[1] == 2
    changed = kept()
    assert changed - first == {"latents": 2}

    # Another precision is another UNet, and the base's own pictures come from it; VAE and words stay what they are.
    in_bf16 = {"optimization": {"precision": "PRECISION_BF16"}}
    seen.prepared(job("in bf16", in_bf16))
    anew = kept() - changed
    assert anew["prior"] == 1
    assert not {"latents", "words"} & set(anew)


def test_a_damaged_entry_is_dropped(tmp_path: Path) -> None:
    cache = Cache(open_store(f"file://{tmp_path}/"))
    key = cache.key("words", caption="a", encoder="e")
    assert cache.get(key) is None
    cache.put(key, {"words": torch.ones(3)})
    cache.put(key, {"words": torch.zeros(3)})
    found = cache.get(key)
    assert found is not None
    assert found["words"].tolist() == [1, 1, 1], "the first stays"

    (path,) = (path for path in tmp_path.rglob("*.safetensors") if ".partial" not in path.parts)
    path.write_bytes(path.read_bytes()[:-5])
    assert cache.get(key) is None
    assert not path.exists()
    cache.put(key, {"words": torch.zeros(3)})
    found = cache.get(key)
    assert found is not None
    assert found["words"].tolist() == [0, 0, 0]
    assert (cache.hits, cache.misses) == (2, 2)


def test_a_key_is_over_everything_that_a_value_depends_on() -> None:
    key = Cache.key("latents", image="a", crop=(0, 0, 8, 8))
    assert key == Cache.key("latents", crop=(0, 0, 8, 8), image="a")
    others = [
        Cache.key("words", image="a", crop=(0, 0, 8, 8)),
        Cache.key("latents", image="b", crop=(0, 0, 8, 8)),
        Cache.key("latents", image="a", crop=(0, 0, 8, 9)),
        Cache.key("latents", image="a", crop=(0, 0, 8, 8), mirror=True),
    ]
    assert len({key, *others}) == 5
