"""Pictures without captions get them from a model, for people to look through."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from service.captioners import FORMS
from tests.trainer.data import corpus
from tests.trainer.tiny_captioners import make_blip, make_tagger
from trainer import captioning
from trainer.tools.app import run_tool


@pytest.fixture(scope="module")
def blip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_blip(tmp_path_factory.mktemp("blip"))


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tagger(tmp_path_factory.mktemp("tagger"))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "cats").mkdir(parents=True)
    (folder / "cats/1.png").write_bytes(corpus.png(90, 60, seed=1))
    (folder / "2.jpg").write_bytes(corpus.rotated(6))
    (folder / "3.png").write_bytes(corpus.png(seed=3))
    (folder / "3.txt").write_text("my own words")
    (folder / "3.mask.png").write_bytes(corpus.png(seed=4))
    return folder


def captions(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("*.txt"))}


def test_a_writer_captions_what_has_no_caption(pictures: Path, blip: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["caption-dataset", str(pictures), "--model", str(blip), "--prompt", "a red"]
    assert run_tool(command) == 0
    written = captions(pictures)
    assert set(written) == {"2.txt", "3.txt", "cats/1.txt"}
    assert written["3.txt"] == "my own words"
    assert all(text.startswith("a red") and text.count("\n") == 1 for name, text in written.items() if name != "3.txt")
    assert "2 of 2 pictures without a caption have one now." in capsys.readouterr().out

    # Again, everything is there; and from the beginning the same is written.
    assert run_tool(command) == 0
    assert "nothing was done" in capsys.readouterr().out
    (pictures / "2.txt").unlink()
    assert run_tool(command) == 0
    assert captions(pictures) == written


def test_a_tagger_names_what_it_is_sure_of(pictures: Path, tagger: Path) -> None:
    assert run_tool(["caption-dataset", str(pictures), "--model", str(tagger), "--threshold", "0.6"]) == 0
    assert captions(pictures)["cats/1.txt"] == "cat, long hair\n"


def test_pictures_that_cannot_be_read_are_named_after_the_others(
    pictures: Path, tagger: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pictures / "bad.png").write_bytes(corpus.truncated_jpeg())
    (pictures / "worse.jpg").write_bytes(b"")
    assert run_tool(["caption-dataset", str(pictures), "--model", str(tagger)]) == 64
    said = capsys.readouterr().err
    assert "Picture 'bad.png' is truncated" in said
    assert "Picture 'worse.jpg' is empty" in said
    assert (pictures / "2.txt").exists()


@pytest.mark.parametrize(
    ("config", "weights", "said"),
    [
        (None, "model.safetensors", "has no config.json"),
        ({"architectures": ["BlipForConditionalGeneration"]}, "pytorch_model.bin", "has no weights in safetensors"),
        ({"architectures": ["X"], "auto_map": {"AutoModel": "x.X"}}, "model.safetensors", "code of its own"),
        ({"architectures": ["BertModel"]}, "model.safetensors", "holds BertModel, which does not caption pictures"),
        ({"architectures": ["BlipForConditionalGeneration"]}, "model.safetensors", "cannot be loaded"),
    ],
)
def test_models_that_cannot_be_used_are_named(
    pictures: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    config: dict[str, object] | None,
    weights: str,
    said: str,
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / weights).write_bytes(b"no weights")
    if config is not None:
        (model / "config.json").write_text(json.dumps(config))
    assert run_tool(["caption-dataset", str(pictures), "--model", str(model)]) == 64
    assert said in capsys.readouterr().err
    assert set(captions(pictures)) == {"3.txt"}


def test_the_kinds_that_are_loaded_are_those_that_are_imported() -> None:
    assert FORMS == {"tags": (captioning.TAGGER,), "sentences": captioning.WRITERS}
