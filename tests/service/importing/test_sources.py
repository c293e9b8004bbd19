"""Addresses, what operators list of them, what is selected of a source, and reading from buckets."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.importing.objects import ObjectPlace
from service.importing.problems import ImportFailed
from service.importing.selection import Selection, select, select_vae
from service.importing.settings import bucket_of, is_listed
from service.importing.sources import FileSource, HubSource, ObjectSource, Source, SourceError, parse_source
from store.files import FileStore


@pytest.mark.parametrize(
    ("uri", "source"),
    [
        ("hf://art/base", HubSource("art/base", "main", "")),
        ("hf://art/base@v1.0", HubSource("art/base", "v1.0", "")),
        ("hf://art/base@refs%2Fpr%2F1/a/b/", HubSource("art/base", "refs/pr/1", "a/b")),
        ("hf://art/base/it%20self.safetensors", HubSource("art/base", "main", "it self.safetensors")),
        ("s3://models/a/b/", ObjectSource("models", "a/b")),
        ("s3://models", ObjectSource("models", "")),
        ("file:///models/a%20b", FileSource("/models/a b")),
    ],
)
def test_addresses(uri: str, source: Source) -> None:
    assert parse_source(uri) == source
    assert parse_source(source.uri) == source


@pytest.mark.parametrize(
    "uri",
    [
        "hf://art",
        "hf://art/",
        "hf://../base",
        "hf://art/..",
        "hf://art/base@",
        "hf://art/base@../main",
        "hf://art/base@main/../x",
        "hf://art/base@main/a//b",
        "hf://art/base?x=1",
        "hf://user:secret@host/base@x@y/z",
        "s3:///a",
        "s3://Bucket_/a",
        "s3://models/../x",
        "s3://models/a%2F..%2Fb",
        "file://host/x",
        "file:relative",
        "https://huggingface.co/art/base",
        "/models",
        "hf://art/base/a%00b",
        "hf://art/base/a\\b",
        "",
    ],
)
def test_what_is_no_address(uri: str) -> None:
    with pytest.raises(SourceError):
        parse_source(uri)


@pytest.mark.parametrize(
    ("uri", "listed"),
    [
        ("s3://models/bases/it", True),
        ("s3://models/bases", True),
        ("s3://models/basesment", False),
        ("s3://other/bases", False),
    ],
)
def test_what_operators_list_of_buckets(uri: str, listed: bool) -> None:
    source = parse_source(uri)
    assert isinstance(source, ObjectSource)
    assert is_listed(source, (bucket_of("s3://models/bases/"),)) == listed
    assert is_listed(source, (bucket_of("s3://models"),)) == (source.bucket == "models")
    assert not is_listed(source, ())


LAYOUT = {
    "model_index.json",
    "unet/config.json",
    "vae/config.json",
    "text_encoder/config.json",
    "scheduler/scheduler_config.json",
    "tokenizer/vocab.json",
    "tokenizer/merges.txt",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.safetensors",
    "text_encoder/model.safetensors",
}
SECOND = {"text_encoder_2/config.json", "text_encoder_2/model.safetensors", "tokenizer_2/tokenizer.json"}


def test_what_is_taken_of_a_layout() -> None:
    rest = {"x.safetensors", "unet/diffusion_pytorch_model.non_ema.safetensors", "safety_checker/model.safetensors"}
    selection = select(LAYOUT | rest)
    assert set(selection.names) == LAYOUT
    assert "x.safetensors" in selection.notes[0]
    assert set(select(LAYOUT | SECOND).names) == LAYOUT | SECOND


@pytest.mark.parametrize("missing", sorted(LAYOUT | SECOND))
def test_every_file_that_is_missing_is_named(missing: str) -> None:
    with pytest.raises(ImportFailed) as raised:
        select((LAYOUT | SECOND) - {missing})
    assert any(missing in problem.description for problem in raised.value.problems)


def test_where_a_vae_may_stand() -> None:
    weights = "diffusion_pytorch_model.safetensors"
    place = {"vae/config.json": ("config.json",), f"vae/{weights}": (weights,)}
    assert select_vae({"config.json", weights}) == Selection(place)
    assert select_vae(LAYOUT).files[f"vae/{weights}"] == (f"vae/{weights}",)
    assert select_vae({"vae.safetensors", "README.md"}) == Selection(checkpoint="vae.safetensors")
    for names in (set(), {"a.safetensors", "b.safetensors"}, {"x.ckpt"}):
        with pytest.raises(ImportFailed, match="The VAE's address holds"):
            select_vae(names)


def unheard(_: int) -> None:
    """Progress that nobody follows."""


def test_a_prefix_of_a_bucket(tmp_path: Path) -> None:
    bucket = FileStore(tmp_path / "bucket")
    for key, content in {
        "bases/it/model_index.json": b"{}",
        "bases/it/unet/x": b"x" * 100,
        "bases/item": b"no",
    }.items():
        bucket.put_new(key, content)
    place = ObjectPlace(ObjectSource("models", "bases/it"), bucket, tmp_path / "downloads")
    listing = place.listed()
    assert listing.sizes == {"model_index.json": 2, "unet/x": 100}
    counted: list[int] = []
    path = place.fetch("unet/x", counted.append)
    assert (path.read_bytes(), sum(counted)) == (b"x" * 100, 100)
    path.write_bytes(b"x" * 40)  # as a killed import leaves it
    assert place.fetch("unet/x", unheard).read_bytes() == b"x" * 100
    bucket.delete("bases/it/unet/x")
    bucket.put_new("bases/it/unet/x", b"y" * 101)
    with pytest.raises(ImportFailed, match="replaced while it was fetched"):
        place.fetch("unet/x", unheard)
    place.done()
    assert list((tmp_path / "downloads").iterdir()) == []
    single = ObjectPlace(ObjectSource("models", "bases/item"), bucket, tmp_path / "downloads").listed()
    assert (single.file, single.sizes) == ("item", {"item": 2})
    with pytest.raises(ImportFailed, match="does not exist"):
        ObjectPlace(ObjectSource("models", "none"), bucket, tmp_path / "downloads").listed()
