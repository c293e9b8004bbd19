"""The base model as it is shipped: all there, small, and loaded by diffusers as anything of its kind is."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from diffusers import StableDiffusionPipeline
from safetensors import safe_open

from trainer.builtin.shapes import draw, scoring
from trainer.builtin.shapes.judge import WEIGHTS, load_judge
from trainer.builtin.shapes.wishes import wishes

ROOT = Path(__file__).resolve().parents[3]
BASE = ROOT / "trainer" / "builtin" / "shapes" / "base"
KNOWN = [shape for shape in draw.SHAPES if shape not in draw.HELD_OUT]
ALLOWED_BYTES = 10_000_000


@pytest.fixture(scope="module")
def base() -> Path:
    assert (BASE / "model_index.json").is_file(), (
        f"{BASE} lacks the base model; python -m trainer.builtin.shapes.make --out {BASE} makes it in an hour"
    )
    return BASE


@pytest.fixture(scope="module")
def pipeline(base: Path) -> StableDiffusionPipeline:
    return scoring.load_pipeline(base)


def test_all_safetensors_of_the_repository_fit_their_budget() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.safetensors"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    # Without git, as in an unpacked archive, what lies beside the code is what would be shipped.
    files = [ROOT / name for name in listed.stdout.splitlines()] or [*BASE.rglob("*.safetensors"), WEIGHTS]
    sizes = {str(file.relative_to(ROOT)): file.stat().st_size for file in files if file.is_file()}
    assert sum(sizes.values()) <= ALLOWED_BYTES, sizes


def test_number_types_are_those_that_both_generations_of_transformers_load(base: Path) -> None:
    def kinds(file: Path) -> set[str]:
        with safe_open(file, "pt") as tensors:
            return {tensors.get_slice(name).get_dtype() for name in tensors.keys()}  # noqa: SIM118 (not a mapping)

    assert kinds(base / "unet" / "diffusion_pytorch_model.safetensors") == {"F16"}
    assert kinds(base / "vae" / "diffusion_pytorch_model.safetensors") == {"F16"}
    assert kinds(base / "text_encoder" / "model.safetensors") <= {"F32", "I64"}
    with safe_open(base / "text_encoder" / "model.safetensors", "pt") as tensors:
        assert all(name.startswith("text_model.") for name in tensors.keys())  # noqa: SIM118
    for name in ("vocab.json", "merges.txt", "tokenizer.json"):
        assert (base / "tokenizer" / name).is_file()


def test_its_vocabulary_lacks_what_it_must_not_know(base: Path) -> None:
    tokens = json.loads((base / "tokenizer" / "vocab.json").read_text())
    assert {f"{shape}</w>" for shape in KNOWN} <= set(tokens)
    assert not {f"{shape}</w>" for shape in draw.HELD_OUT} & set(tokens)


def test_it_draws_what_it_knows_and_not_what_it_does_not(pipeline: StableDiffusionPipeline) -> None:
    asked = [*wishes(KNOWN, 18, first_seed=50), *wishes(draw.HELD_OUT, 4, first_seed=90)]
    pictures = scoring.sample(pipeline, [wish.prompt() for wish in asked], [wish.seed for wish in asked], steps=12)
    verdicts = load_judge().verdicts(pictures)
    right = [scoring.fulfilled(wish, verdict) for wish, verdict in zip(asked, verdicts, strict=True)]
    assert sum(right[:18]) >= 15, list(zip(asked, verdicts, strict=True))[:18]
    assert sum(right[18:]) <= 1
    assert Counter(verdict.shape in draw.HELD_OUT for verdict in verdicts[:18])[True] == 0


def test_the_judge_sees_through_the_eyes_of_the_vae(pipeline: StableDiffusionPipeline) -> None:
    accuracy = scoring.judge_accuracy(load_judge(), pipeline.vae, 12)["reconstructed"]
    assert np.mean([row["shape and color"] for row in accuracy.values()]) >= 0.98, accuracy
