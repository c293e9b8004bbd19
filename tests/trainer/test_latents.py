"""Nothing of the caches is ever stale: datasets are edited at random, and what comes of the cache is what comes without one."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from store import open_store
from tests.trainer.data import corpus
from trainer import latents
from trainer.cache import Cache
from trainer.data.buckets import Bucket
from trainer.data.dataset import DataFile, Reading, read_dataset
from trainer.data.images import Decoder
from trainer.data.rules import CropName, PictureRules
from trainer.embeddings import Words
from trainer.families.base import Base
from trainer.families.registry import load_base
from trainer.latents import encode_examples, pictures_at_once

CPU = torch.device("cpu")
NAMES = ("a.png", "b.png", "c.png")


@pytest.fixture(scope="module")
def base(tiny_base: Path) -> Base:
    return load_base("sd15", tiny_base, CPU, torch.float32)


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder() as decoder:
        yield decoder


@dataclass(frozen=True)
class Dataset:
    """Pictures by name, as seeds of noise and captions, and how they are cut."""

    pictures: tuple[tuple[str, int, str], ...]
    crop: CropName = "center"
    flip: bool = False
    resolution: int = 64

    def files(self) -> dict[str, bytes]:
        files = {}
        for name, seed, caption in self.pictures:
            files[name] = corpus.png(80, 64, seed)
            files[name.replace(".png", ".txt")] = caption.encode()
        return files

    def read(self, work: Path, decoder: Decoder) -> Reading:
        contents = self.files()
        by_digest = {hashlib.sha256(content).hexdigest(): content for content in contents.values()}
        return read_dataset(
            [DataFile(path, hashlib.sha256(content).hexdigest(), len(content)) for path, content in contents.items()],
            lambda sha256, path: path.write_bytes(by_digest[sha256]) and None,
            work,
            [],
            PictureRules(resolution=self.resolution, bucket_step=8, buckets=False, crop=self.crop),
            decoder,
            lambda *_: None,
        )


@dataclass(frozen=True)
class Lab:
    """Prepares datasets, with a cache or with an empty one."""

    base: Base
    decoder: Decoder
    work: Path

    def prepared(self, dataset: Dataset, cache: Cache, vae: str = "vae") -> dict[object, torch.Tensor]:
        """Everything that a cache keeps of a dataset, by what it is of."""
        reading = dataset.read(self.work / "data", self.decoder)
        posteriors = encode_examples(
            reading.examples,
            self.base,
            self.decoder,
            cache,
            vae_digest=vae,
            fingerprint="f",
            mirrored=lambda _: dataset.flip,
            progress=lambda *_: None,
        )
        words = Words(
            self.base, cache, digests={one.name: "e" for one in self.base.text_encoders}, fingerprint="f", trained=()
        )
        captions = sorted({example.caption for example in reading.examples})
        words.prepare(captions, [], lambda *_: None)
        kept: dict[object, torch.Tensor] = {caption: words.of([caption]).words for caption in captions}
        for view, posterior in posteriors.items():
            kept[view, "mean"], kept[view, "logvar"] = posterior.mean, posterior.logvar
        return kept


@pytest.fixture(scope="module")
def lab(base: Base, decoder: Decoder, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(base, decoder, tmp_path_factory.mktemp("lab"))


def empty(folder: Path) -> Cache:
    return Cache(open_store(f"file://{folder}/"))


seeds, captions = st.integers(0, 3), st.sampled_from(["a red star", "a blue star", "heart, red"])
edits = st.one_of(
    st.tuples(st.just("replace"), st.sampled_from(NAMES), seeds),
    st.tuples(st.just("recaption"), st.sampled_from(NAMES), captions),
    st.tuples(st.just("rename"), st.sampled_from(NAMES), st.sampled_from(["d.png", "e.png"])),
    st.tuples(st.just("crop"), st.sampled_from(["center", "random", "smart"])),
    st.tuples(st.just("resolution"), st.sampled_from([48, 64])),
    st.tuples(st.just("flip"), st.booleans()),
)


def edited(dataset: Dataset, edit: tuple[object, ...]) -> Dataset:
    """The dataset after an edit; one that does not apply to it leaves it as it is."""
    what, *how = edit
    if what in ("crop", "resolution", "flip"):
        return replace(dataset, **{str(what): how[0]})
    place = {"replace": 1, "recaption": 2, "rename": 0}[str(what)]
    pictures = [list(picture) for picture in dataset.pictures]
    for picture in pictures:
        if picture[0] == how[0]:
            picture[place] = how[1]
    if len({picture[0] for picture in pictures}) < len(pictures):
        return dataset
    return replace(dataset, pictures=tuple(tuple(picture) for picture in pictures))  # type: ignore[misc]


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(changes=st.lists(edits, min_size=1, max_size=4))
def test_what_comes_of_the_cache_is_what_comes_without_one(
    lab: Lab, tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[object, ...]]
) -> None:
    dataset = Dataset(tuple((name, seed, "a red star") for seed, name in enumerate(NAMES)))
    folder = tmp_path_factory.mktemp("edits")
    cache = empty(folder / "kept")
    lab.prepared(dataset, cache)
    for number, change in enumerate(changes):
        dataset = edited(dataset, change)
        kept = lab.prepared(dataset, cache)
        anew = lab.prepared(dataset, empty(folder / str(number)))
        assert kept.keys() == anew.keys()
        for what, tensor in anew.items():
            assert torch.equal(kept[what], tensor), what


def test_one_picture_changed_is_one_picture_encoded_and_another_vae_encodes_all(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    encode = lab.base.encode_pictures

    def counted(pictures: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        encoded.append(len(pictures))
        return encode(pictures)

    monkeypatch.setattr(lab.base, "encode_pictures", counted)
    cache = empty(tmp_path)
    dataset = Dataset(tuple((name, seed, "a red star") for seed, name in enumerate(NAMES)))

    def encodings(dataset: Dataset, vae: str = "vae") -> int:
        encoded.clear()
        lab.prepared(dataset, cache, vae)
        return sum(encoded)

    assert encodings(dataset) == 3
    assert encodings(dataset) == 0
    assert encodings(edited(dataset, ("replace", "b.png", 9))) == 1
    assert encodings(edited(dataset, ("rename", "b.png", "z.png"))) == 0, "a name is no content"
    assert encodings(dataset, vae="another") == 3


def test_two_pictures_of_one_content_are_encoded_once_and_both_are_there(lab: Lab, tmp_path: Path) -> None:
    cache = empty(tmp_path)
    twins = Dataset((("a.png", 1, "a red star"), ("b.png", 1, "a blue star")))
    kept = lab.prepared(twins, cache)
    first, second = (kept[key] for key in kept if isinstance(key, tuple) and key[1] == "mean")
    assert torch.equal(first, second)
    assert len(list(tmp_path.glob("latents/*.safetensors"))) == 1


def test_a_run_that_is_stopped_while_it_encodes_finds_what_it_had(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode, calls = lab.base.encode_pictures, iter(range(100))

    def stopped(pictures: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        if next(calls) == 2:
            # Writes go on beside the encoding, and a run that is stopped waits for none.
            while len(list(tmp_path.glob("latents/*.safetensors"))) < 2:
                time.sleep(0.01)
            raise KeyboardInterrupt
        return encode(pictures)

    dataset = Dataset(tuple((name, seed, "a red star") for seed, name in enumerate(NAMES)))
    monkeypatch.setattr(lab.base, "encode_pictures", stopped)
    with pytest.raises(KeyboardInterrupt):
        lab.prepared(dataset, empty(tmp_path))
    monkeypatch.setattr(lab.base, "encode_pictures", encode)
    again = empty(tmp_path)
    lab.prepared(dataset, again)
    assert (again.hits, again.misses) == (2, 2), "two pictures of three; the third and the caption are made now"


@pytest.mark.parametrize("side", [48, 64])
def test_a_result_does_not_depend_on_what_else_is_missing(lab: Lab, tmp_path: Path, side: int) -> None:
    """The last bits did, with two threads and seven pictures of 48 pixels at once: the threads' border lay within one."""
    names = [f"{number}.png" for number in range(7)]
    pictures = tuple((name, seed, "a red star") for seed, name in enumerate(names))
    dataset = Dataset(pictures, resolution=side)
    together = lab.prepared(dataset, empty(tmp_path / "together"))
    for picture in dataset.pictures:
        alone = lab.prepared(replace(dataset, pictures=(picture,)), empty(tmp_path / picture[0]))
        for what, tensor in alone.items():
            assert torch.equal(tensor, together[what]), what


def test_batches_are_filled_up(lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: the number of pictures at once follows from device and size alone."""
    monkeypatch.setitem(latents._PIXELS_AT_ONCE, "cpu", 4 * 64 * 64)
    encode, sizes = lab.base.encode_pictures, []

    def seen(pictures: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        sizes.append(len(pictures))
        return encode(pictures)

    monkeypatch.setattr(lab.base, "encode_pictures", seen)
    assert pictures_at_once("cpu", Bucket(64, 64)) == 4
    lab.prepared(Dataset((("a.png", 1, "a red star"),)), empty(tmp_path))
    assert sizes == [4]
