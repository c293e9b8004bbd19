"""Captioners are imported as base models are; what is none is named. No weight is read."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from loramill import v1
from service.caller import Caller
from service.errors import InvalidRequest
from service.importing.settings import ImportSettings
from service.keys import BaseKeys
from store.files import FileStore
from tests.service.importing.imports import imports_of

CALLER = Caller("local", "test", "/test", "call")
BLIP = {"architectures": ["BlipForConditionalGeneration"]}


def captioner(folder: Path, config: object = BLIP, **contents: bytes) -> Path:
    """The files of a captioner, and others; `contents` by name, `__` for a dot."""
    folder.mkdir()
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    (folder / "preprocessor_config.json").write_text("{}")
    (folder / "vocab.txt").write_text("a")
    (folder / "LICENSE").write_text("do what you like")
    save_file({"weight": np.zeros(4, np.float32)}, folder / "model.safetensors")
    for name, content in contents.items():
        (folder / name.replace("__", ".")).write_bytes(content)
    return folder


def imported(tmp_path: Path, folder: Path, **request: str) -> v1.BaseModel:
    imports = imports_of(FileStore(tmp_path / "store"), tmp_path / "work", ImportSettings(folders=(tmp_path,)))
    asked = v1.ImportBaseModelRequest(base_model_id="blip", source_uri=folder.as_uri(), **request)
    return imports.import_(CALLER, asked)


@pytest.mark.parametrize(
    ("kind", "form"), [("BlipForConditionalGeneration", "sentences"), ("ViTForImageClassification", "tags")]
)
def test_a_captioner_is_stored_with_what_it_needs_and_nothing_else(tmp_path: Path, kind: str, form: str) -> None:
    folder = captioner(
        tmp_path / "m", {"architectures": [kind]}, pytorch_model__bin=b"pickle", modeling__py=b"import os"
    )
    model = imported(tmp_path, folder, license="BSD-3-Clause")
    assert (model.family, model.caption_form, model.resolution, model.license) == ("captioner", form, 0, "BSD-3-Clause")
    assert any("pickle was left out" in note for note in model.notes)
    files = BaseKeys("blip").files
    stored = {entry.key.removeprefix(files) for entry in FileStore(tmp_path / "store").list(files)}
    assert stored == {
        "LICENSE", "config.json", "manifest.json", "model.safetensors", "preprocessor_config.json", "vocab.txt"
    }  # fmt: skip


def without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"pickle")


def cut(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-1])


def no_json(folder: Path) -> None:
    (folder / "config.json").write_text("[1]")


def other_kind(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"architectures": ["BertModel"]}))


def own_code(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({**BLIP, "auto_map": {"AutoModel": "x.X"}}))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (without_weights, "model.safetensors is missing (pytorch_model.bin is a pickle"),
        (cut, "model.safetensors"),
        (no_json, "config.json is no readable JSON object"),
        (other_kind, "['BertModel'], which does not caption pictures"),
        (own_code, "needs code of its own"),
    ],
)
def test_what_is_wrong_with_a_captioner_is_named(spoil: object, said: str, tmp_path: Path) -> None:
    folder = captioner(tmp_path / "m")
    spoil(folder)  # type: ignore[operator]
    with pytest.raises(InvalidRequest, match=re.escape(said)):
        imported(tmp_path, folder)


def test_a_captioner_has_no_vae(tmp_path: Path) -> None:
    folder, vae = captioner(tmp_path / "m"), tmp_path / "vae.safetensors"
    save_file({"weight": np.zeros(4, np.float32)}, vae)
    with pytest.raises(InvalidRequest, match="which has no VAE"):
        imported(tmp_path, folder, vae_source_uri=vae.as_uri())
