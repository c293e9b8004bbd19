from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from loramill import v1
from service.caller import Caller
from service.errors import Interrupted
from service.importing.settings import ImportSettings
from service.keys import BaseKeys
from store.files import FileStore
from tests.service.api.api import Answer, Api, error_of
from tests.service.api.tiny_base import UNET, VAE, write_base, write_safetensors
from tests.service.importing.imports import imports_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def refused(api: Api, folder: Path, base: str = "refused") -> Answer:
    request = v1.ImportBaseModelRequest(base_model_id=base, source_uri=folder.as_uri())
    return await error_of(api.bases.ImportBaseModel(request))


async def test_the_built_in_base_is_there_from_the_start(api: Api) -> None:
    base = await api.bases.GetBaseModel(v1.GetBaseModelRequest(name="baseModels/shapes"))
    assert (base.source_uri, base.family, base.resolution) == ("builtin://shapes", "sd15", 64)
    assert base.prediction_type == "epsilon"


async def test_an_import_copies_what_training_needs_and_pins_it(api: Api) -> None:
    folder = write_base(api.models / "mine", unet_config={"sample_size": 64}, prediction_type="v_prediction", fill=1.0)
    (folder / "unet/diffusion_pytorch_model.fp16.safetensors").write_bytes(b"not needed")
    request = v1.ImportBaseModelRequest(base_model_id="mine", source_uri=folder.as_uri(), license="MIT")
    base = await api.bases.ImportBaseModel(request)
    assert (base.name, base.family, base.resolution, base.license) == ("baseModels/mine", "sd15", 512, "MIT")
    assert base.prediction_type == "v_prediction"
    keys = BaseKeys("mine")
    manifest = json.loads(api.service.store.get(keys.manifest))
    assert manifest["digest"] == base.digest
    assert {file["path"] for file in manifest["files"]} >= {"model_index.json", "unet/config.json"}
    assert "unet/diffusion_pytorch_model.fp16.safetensors" not in {file["path"] for file in manifest["files"]}
    stored = api.service.store.get(f"{keys.files}unet/diffusion_pytorch_model.safetensors")
    assert stored == (folder / "unet/diffusion_pytorch_model.safetensors").read_bytes()
    assert (base.state, base.last_import.number) == (v1.BASE_MODEL_STATE_READY, 1)
    assert base.last_import.state == v1.BASE_MODEL_IMPORT_STATE_SUCCEEDED
    again = await api.bases.ImportBaseModel(request)
    assert (again.digest, again.create_time, again.last_import.number) == (base.digest, base.create_time, 2)
    write_base(folder, fill=2.0)
    answer = await error_of(api.bases.ImportBaseModel(request))
    assert answer.code == grpc.StatusCode.ALREADY_EXISTS
    listed = await api.bases.ListBaseModels(v1.ListBaseModelsRequest())
    assert [model.name for model in listed.base_models] == ["baseModels/mine", "baseModels/shapes"]
    first = await api.bases.ListBaseModels(v1.ListBaseModelsRequest(page_size=1))
    second = await api.bases.ListBaseModels(v1.ListBaseModelsRequest(page_size=1, page_token=first.next_page_token))
    assert [model.name for model in (*first.base_models, *second.base_models)] == [
        "baseModels/mine",
        "baseModels/shapes",
    ]


@pytest.mark.parametrize("name", ["pytorch_model.bin", "x.ckpt", "x.pt", "x.PTH", "x.pkl"])
async def test_pickles_alone_are_refused_by_name_and_beside_safetensors_left_out(api: Api, name: str) -> None:
    folder = write_base(api.models / f"pickled-{name}")
    base = f"pickled-{name.lower().replace('.', '-').replace('_', '-')}"
    (folder / "unet" / name).write_bytes(b"")
    request = v1.ImportBaseModelRequest(base_model_id=base, source_uri=folder.as_uri())
    imported = await api.bases.ImportBaseModel(request)
    assert any(f"unet/{name}" in note for note in imported.notes)
    assert not any(name in entry.key for entry in api.service.store.list(BaseKeys(base).files))
    _weights(folder).unlink()
    answer = await refused(api, folder)
    assert answer.code == grpc.StatusCode.INVALID_ARGUMENT
    assert f"pickle alone (unet/{name})" in answer.message
    shutil.rmtree(folder / "unet")
    (folder / "model_index.json").unlink()
    (folder / name).write_bytes(b"")
    assert f"{name} is a pickle" in (await refused(api, folder)).message


async def test_everything_that_is_missing_is_named_at_once(api: Api) -> None:
    folder = write_base(api.models / "incomplete")
    shutil.rmtree(folder / "vae")
    (folder / "tokenizer/merges.txt").unlink()
    _weights(folder).rename(folder / "unet/diffusion_pytorch_model.bin")
    request = v1.ImportBaseModelRequest(base_model_id="incomplete", source_uri=folder.as_uri())
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await api.bases.ImportBaseModel(request)
    details = str(dict(raised.value.trailing_metadata())["grpc-status-details-bin"])
    for name in (
        "vae/config.json",
        "vae/diffusion_pytorch_model.safetensors",
        "tokenizer/merges.txt",
        "unet/diffusion_pytorch_model.bin",
    ):
        assert name in details


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (lambda folder: write_safetensors(folder / "transformer/x.safetensors", VAE), "sd3 or flux"),
        (lambda folder: write_base(folder, unet={**UNET, "conv_in.weight": (8, 9, 3, 3)}), "inpainting"),
        (lambda folder: write_base(folder, vae={**VAE, "decoder.conv_in.weight": (8, 16, 3, 3)}), "16 latent channels"),
        (
            lambda folder: write_base(folder, text_encoder={"embeddings.token_embedding.weight": (20, 12)}),
            "do not belong together",
        ),
        (lambda folder: write_base(folder, unet_config={"in_channels": 9}), "in_channels 9"),
        (lambda folder: write_base(folder, unet_config={"sample_size": None}), "sample_size None"),
        (lambda folder: write_base(folder, prediction_type="sample"), "prediction_type 'sample'"),
        (lambda folder: (folder / "vae/config.json").write_text("[1"), "vae/config.json is no readable JSON"),
    ],
)
async def test_other_families_and_mismatches_are_refused_by_name(
    api: Api, tmp_path: Path, change: Callable[[Path], object], part: str
) -> None:
    folder = write_base(api.models / tmp_path.name)
    change(folder)
    answer = await refused(api, folder)
    assert answer.code == grpc.StatusCode.INVALID_ARGUMENT
    assert part in answer.message


def _weights(folder: Path) -> Path:
    return folder / "unet/diffusion_pytorch_model.safetensors"


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: content + b"x",
        lambda content: content[:4],
        lambda content: content[:0],
        lambda content: (1 << 62).to_bytes(8, "little") + content[8:],
        lambda content: (100_000_001).to_bytes(8, "little") + content[8:],
        lambda content: content.replace(b'"F16"', b'"F32"', 1),
        lambda content: content.replace(b"[8, 8, 1, 1]", b"[8, -8, 1,1]", 1),
        lambda content: content.replace(b"{", b"(", 1),
    ],
)
async def test_damaged_weights_are_refused_by_name(api: Api, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    folder = write_base(api.models / tmp_path.name)
    _weights(folder).write_bytes(damage(_weights(folder).read_bytes()))
    answer = await refused(api, folder)
    assert answer.code == grpc.StatusCode.INVALID_ARGUMENT
    assert "unet/diffusion_pytorch_model.safetensors" in answer.message


async def test_nothing_outside_the_import_roots_is_read(api: Api, tmp_path: Path) -> None:
    outside = write_base(tmp_path / "outside")
    link = api.models / "link"
    link.symlink_to(outside)
    for source in (outside, link, api.models / ".." / "shapes", tmp_path / "missing"):
        request = v1.ImportBaseModelRequest(base_model_id="x", source_uri=f"file://{source}")
        assert (await error_of(api.bases.ImportBaseModel(request))).reasons == {"source_uri": "OUTSIDE_ROOTS"}


async def test_links_inside_must_not_lead_out(api: Api, tmp_path: Path) -> None:
    folder = write_base(api.models / "linked")
    inside, outside = api.models / "blob", tmp_path / "blob"
    for target in (inside, outside):
        shutil.copy(_weights(folder), target)
    _weights(folder).unlink()
    _weights(folder).symlink_to(outside)
    assert "leads out of the import roots" in (await refused(api, folder)).message
    _weights(folder).unlink()
    _weights(folder).symlink_to(inside)  # as the layout of a download cache has it
    request = v1.ImportBaseModelRequest(base_model_id="linked", source_uri=folder.as_uri())
    assert (await api.bases.ImportBaseModel(request)).family == "sd15"


@pytest.mark.parametrize(
    "source", ["https://example.org/model", "s3://bucket/model", "hf://a/b", "/models", "file://host/x", ""]
)
async def test_other_addresses_are_refused(api: Api, source: str) -> None:
    request = v1.ImportBaseModelRequest(base_model_id="Bad Id", source_uri=source)
    answer = await error_of(api.bases.ImportBaseModel(request))
    assert "base_model_id" in answer.violations or "source_uri" in answer.violations
    request.base_model_id = "x"
    assert set((await error_of(api.bases.ImportBaseModel(request))).violations) == {"source_uri"}


async def test_the_built_in_name_is_reserved(api: Api) -> None:
    answer = await refused(api, write_base(api.models / "own-shapes"), "shapes")
    assert answer.reasons == {"base_model_id": "RESERVED"}


class Collected(FileStore):
    """Loses, once, what an earlier import had stored, just when the next one has counted on it."""

    lost = False

    def put_new(self, key: str, content: bytes | Path) -> None:
        super().put_new(key, content)
        if key == BaseKeys("mine").manifest and not self.lost:
            self.lost = True
            self.delete(BaseKeys("mine").claim)


async def test_an_import_that_lost_what_it_counted_on_says_so_and_the_next_one_is_whole(tmp_path: Path) -> None:
    folder = write_base(tmp_path / "models/mine")
    store = Collected(tmp_path / "store")
    imports = imports_of(store, tmp_path / "work", ImportSettings(folders=(tmp_path / "models",)))
    caller = Caller("local", "test", "/test", "call")
    request = v1.ImportBaseModelRequest(base_model_id="mine", source_uri=folder.as_uri())
    with pytest.raises(Interrupted, match="import it again"):
        imports.import_(caller, request)
    assert imports.bases.find("mine") is None
    assert imports.bases.get("mine").state == v1.BASE_MODEL_STATE_FAILED
    assert imports.import_(caller, request).state == v1.BASE_MODEL_STATE_READY
