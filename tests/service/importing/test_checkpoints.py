"""Single-file checkpoints: what they become, and which are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from safetensors.numpy import load
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from loramill import v1
from service.base_imports import BaseImports
from service.caller import Caller
from service.errors import InvalidRequest
from service.importing.settings import ImportSettings
from service.keys import BaseKeys
from service.layout import WEIGHT_FILES
from store.files import FileStore
from tests.service.importing.imports import imports_of
from tests.service.importing.tiny_families import (
    FAMILIES,
    Arrays,
    checkpoint,
    networks,
    write_checkpoint,
    write_vae,
)

CALLER = Caller("local", "test", "/test", "call")
KINDS: dict[str, Any] = {
    "unet": UNet2DConditionModel,
    "vae": AutoencoderKL,
    "text_encoder": CLIPTextModel,
    "text_encoder_2": CLIPTextModelWithProjection,
}


@pytest.fixture
def imports(tmp_path: Path) -> BaseImports:
    settings = ImportSettings(folders=(tmp_path / "models",))
    return imports_of(FileStore(tmp_path / "store"), tmp_path / "work", settings, FAMILIES)


def imported(imports: BaseImports, path: Path, vae: Path | None = None, base: str = "mine") -> v1.BaseModel:
    request = v1.ImportBaseModelRequest(base_model_id=base, source_uri=path.as_uri(), license="MIT")
    request.vae_source_uri = vae.as_uri() if vae is not None else ""
    return imports.import_(CALLER, request)


def refused(imports: BaseImports, path: Path, vae: Path | None = None) -> str:
    with pytest.raises(InvalidRequest) as raised:
        imported(imports, path, vae)
    assert {violation.reason for violation in raised.value.violations} == {"UNSUITABLE_BASE"}
    return " ".join(violation.description for violation in raised.value.violations)


def config(imports: BaseImports, name: str, base: str = "mine") -> dict[str, Any]:
    return json.loads(imports.store.get(BaseKeys(base).files + name))  # type: ignore[no-any-return]


def stored(imports: BaseImports, component: str, base: str = "mine") -> Arrays:
    return load(imports.store.get(BaseKeys(base).files + WEIGHT_FILES[component]))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_single_file_becomes_what_diffusers_and_transformers_load(
    imports: BaseImports, tmp_path: Path, name: str
) -> None:
    family = FAMILIES[name]
    tensors = networks(family)
    extra = {"alphas_cumprod": np.ones(3, np.float32), "cond_stage_model.logit_scale": np.ones(1, np.float16)}
    path = write_checkpoint(tmp_path / "models/it.safetensors", checkpoint(family, tensors) | extra)
    base = imported(imports, path)
    assert (base.family, base.state, base.resolution) == (name, v1.BASE_MODEL_STATE_READY, 768 if name == "sd2" else 64)
    folder = tmp_path / "loaded"
    for entry in imports.store.list(BaseKeys("mine").files):
        target = folder / entry.key.removeprefix(BaseKeys("mine").files)
        target.parent.mkdir(parents=True, exist_ok=True)
        imports.store.fetch(entry.key, target)
    for component, arrays in tensors.items():
        network, found = KINDS[component].from_pretrained(
            folder / component, output_loading_info=True, local_files_only=True, torch_dtype=torch.float16
        )
        assert not any(found.get(kind) for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
        loaded = {key.removeprefix("text_model."): tensor for key, tensor in network.state_dict().items()}
        assert loaded.keys() == {key.removeprefix("text_model.") for key in arrays}
        for key, array in arrays.items():
            assert torch.equal(loaded[key.removeprefix("text_model.")], torch.from_numpy(array)), key
    for folder_name in ("tokenizer", "tokenizer_2")[: 2 if name == "sdxl" else 1]:
        tokenizer = CLIPTokenizer.from_pretrained(folder / folder_name, local_files_only=True)
        ids = tokenizer("a photo of a cat", padding="max_length", max_length=9)["input_ids"]
        padding = 0 if name == "sd2" or folder_name == "tokenizer_2" else 49407
        assert ids == [49406, 320, 1125, 539, 320, 2368, 49407, padding, padding]


@pytest.mark.parametrize(
    ("name", "marks", "metadata", "prediction", "zero"),
    [
        ("sd15", [], {}, "epsilon", False),
        ("sd15", ["v_pred"], {}, "v_prediction", False),
        ("sdxl", ["v_pred", "ztsnr"], {}, "v_prediction", True),
        ("sdxl", [], {"modelspec.prediction_type": "v"}, "v_prediction", False),
        ("sdxl", [], {"modelspec.prediction_type": "nonsense"}, "epsilon", False),
        ("sd2", [], {}, "v_prediction", False),
        ("sd2", [], {"modelspec.architecture": "stable-diffusion-v2-512"}, "epsilon", False),
        ("sd2", [], {"modelspec.prediction_type": "epsilon", "modelspec.resolution": "512x512"}, "epsilon", False),
    ],
)
def test_marks_and_metadata_set_the_scheduler(
    imports: BaseImports,
    tmp_path: Path,
    name: str,
    marks: list[str],
    metadata: dict[str, str],
    prediction: str,
    zero: bool,
) -> None:
    family = FAMILIES[name]
    arrays = checkpoint(family, networks(family)) | {mark: np.zeros(0, np.float32) for mark in marks}
    base = imported(imports, write_checkpoint(tmp_path / "models/it.safetensors", arrays, metadata or None))
    scheduler = config(imports, "scheduler/scheduler_config.json")
    assert (base.prediction_type, base.zero_terminal_snr) == (prediction, zero)
    assert (scheduler["prediction_type"], scheduler["rescale_betas_zero_snr"]) == (prediction, zero)
    assert (scheduler["timestep_spacing"] == "trailing") == zero
    assert len(base.notes) >= (len(marks) or (name == "sd2"))
    if name == "sd2":
        assert base.resolution == (512 if prediction == "epsilon" else 768)


def test_a_checkpoint_with_the_average_alone_and_one_with_both(imports: BaseImports, tmp_path: Path) -> None:
    family = FAMILIES["sd15"]
    tensors, average = networks(family), networks(family, seed=1)
    prefix = family.network("unet").prefix
    whole = checkpoint(family, tensors)
    ema = {
        "model_ema." + name.removeprefix("model.").replace(".", ""): array
        for name, array in checkpoint(family, {"unet": average["unet"]}).items()
    }
    without = {name: array for name, array in whole.items() if not name.startswith(prefix)}
    alone = imported(imports, write_checkpoint(tmp_path / "models/alone.safetensors", without | ema))
    assert np.array_equal(stored(imports, "unet")["conv_in.weight"], average["unet"]["conv_in.weight"])
    assert any("EMA" in note for note in alone.notes)
    both = imported(imports, write_checkpoint(tmp_path / "models/both.safetensors", whole | ema), base="both")
    assert np.array_equal(stored(imports, "unet", "both")["conv_in.weight"], tensors["unet"]["conv_in.weight"])
    assert any("twice" in note for note in both.notes)


def test_another_vae_takes_the_place_of_its_own(imports: BaseImports, tmp_path: Path) -> None:
    family = FAMILIES["sdxl"]
    tensors, other = networks(family), networks(family, seed=1)["vae"]
    folder = write_vae(tmp_path / "models/other", family, other)
    whole = write_checkpoint(tmp_path / "models/it.safetensors", checkpoint(family, tensors))
    single = write_checkpoint(
        tmp_path / "models/vae.safetensors",
        {name.removeprefix("first_stage_model."): a for name, a in checkpoint(family, {"vae": other}).items()},
    )
    without = {name: array for name, array in checkpoint(family, tensors).items() if not name.startswith("first_stage")}
    bare = write_checkpoint(tmp_path / "models/bare.safetensors", without)
    assert "give one with vae_source_uri" in refused(imports, bare)
    for number, (base, vae) in enumerate([(whole, folder), (bare, folder), (whole, single), (bare, single)]):
        found = imported(imports, base, vae, f"it-{number}")
        assert found.vae_source_uri == vae.as_uri()
        arrays = stored(imports, "vae", f"it-{number}")
        assert arrays.keys() == other.keys()
        assert all(np.array_equal(arrays[name], other[name]) for name in other)
    assert "The VAE's file holds no VAE" in refused(imports, whole, bare)


REFUSED: dict[str, tuple[Callable[[Arrays], Any], str]] = {
    "no VAE": (lambda a: [a.pop(n) for n in list(a) if n.startswith("first_stage")], "The VAE is missing"),
    "no text encoder": (lambda a: [a.pop(n) for n in list(a) if n.startswith("cond_stage")], "text encoder is missing"),
    "one tensor": (lambda a: a.pop("model.diffusion_model.out.2.weight"), "lacks 1 of"),
    "inpainting": (
        lambda a: a.update({"model.diffusion_model.input_blocks.0.0.weight": np.zeros((4, 9, 3, 3), np.float16)}),
        "an inpainting model",
    ),
    "another width": (
        lambda a: a.update({"model.diffusion_model.out.0.weight": np.zeros(6, np.float16)}),
        "1 tensors of other shapes",
    ),
    "eight bits": (
        lambda a: a.update({"model.diffusion_model.out.0.weight": np.zeros(4, np.uint8)}),
        "stored as U8",
    ),
    "an adapter": (lambda a: (a.clear(), a.update(lora_unet_x=np.zeros(1, np.float16))), "loramill adapter upload"),
    "flux": (lambda a: a.update({"double_blocks.0.x": np.zeros(1, np.float16)}), "flux"),
    "nothing of it": (lambda a: (a.clear(), a.update(x=np.zeros(1, np.float16))), "has no UNet"),
    "refiner": (
        lambda a: a.update(
            {
                "model.diffusion_model.label_emb.0.0.weight": np.zeros(1, np.float16),
                "conditioner.embedders.0.model.ln_final.bias": np.zeros(1, np.float16),
            }
        ),
        "refiner",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_is_wrong_or_incomplete_is_named(imports: BaseImports, tmp_path: Path, kind: str) -> None:
    change, words = REFUSED[kind]
    arrays = checkpoint(FAMILIES["sd15"], networks(FAMILIES["sd15"]))
    change(arrays)
    assert words in refused(imports, write_checkpoint(tmp_path / "models/it.safetensors", arrays))
    assert imports.bases.get("mine").state == v1.BASE_MODEL_STATE_FAILED


def test_a_damaged_file_and_several_at_once(imports: BaseImports, tmp_path: Path) -> None:
    family = FAMILIES["sd15"]
    path = write_checkpoint(tmp_path / "models/a/it.safetensors", checkpoint(family, networks(family)))
    path.with_name("other.safetensors").write_bytes(path.read_bytes()[:-1])
    assert "2 single-file checkpoints (it.safetensors, other.safetensors)" in refused(imports, path.parent)
    assert "other.safetensors is cut short" in refused(imports, path.with_name("other.safetensors"))
    path.with_name("other.safetensors").unlink()
    assert imported(imports, path.parent).family == "sd15"


def test_weights_in_several_files_become_one(imports: BaseImports, tmp_path: Path) -> None:
    family = FAMILIES["sd15"]
    tensors = networks(family)
    imported(imports, write_checkpoint(tmp_path / "models/it.safetensors", checkpoint(family, tensors)))
    folder = tmp_path / "models/parts"
    for entry in imports.store.list(BaseKeys("mine").files):
        target = folder / entry.key.removeprefix(BaseKeys("mine").files)
        target.parent.mkdir(parents=True, exist_ok=True)
        imports.store.fetch(entry.key, target)
    whole = folder / WEIGHT_FILES["unet"]
    arrays = list(load(whole.read_bytes()).items())
    parts = (arrays[:10], arrays[10:])
    for number, part in enumerate(parts, 1):
        write_checkpoint(whole.with_name(f"diffusion_pytorch_model-0000{number}-of-00002.safetensors"), dict(part))
    whole.unlink()
    base = imported(imports, folder, base="joined")
    assert base.digest == imports.bases.get("mine").digest
    whole.with_name("diffusion_pytorch_model-00002-of-00002.safetensors").unlink()
    assert "diffusion_pytorch_model-00001-of-00002.safetensors" in refused(imports, folder)
