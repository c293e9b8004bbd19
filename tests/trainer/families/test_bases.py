"""What a base of each family is told, gives, and refuses."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, PNDMScheduler
from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr
from safetensors.torch import load_file, save_file
from torch import Tensor

from service.base_files import inspect
from service.families import Found
from tests.trainer.full_size import VAE
from tests.trainer.small_training import CPU
from trainer.confirmation import confirm, errors_by_type
from trainer.errors import UserError
from trainer.families import unet
from trainer.families.base import BaseOptions, Conditioning, Framing
from trainer.families.registry import load_base
from trainer.families.unet_blocks import sinusoids
from trainer.noise import add_noise, target


def load(family: str, folder: Path, **options: Any) -> Any:
    return load_base(family, folder, CPU, torch.float32, BaseOptions(**options))


@pytest.mark.parametrize(("family", "scale"), [("sd15", 0.18215), ("sd2", 0.18215), ("sdxl", 0.13025)])
def test_a_picture_becomes_latents_of_an_eighth_of_its_sides(
    family: str, scale: float, folders: dict[str, Path]
) -> None:
    base = load(family, folders[family])
    picture = np.random.default_rng(0).integers(0, 256, (1, 512, 512, 3), dtype=np.uint8)
    mean, logvar = base.encode_pictures(picture)
    assert mean.shape == logvar.shape == (1, 4, 64, 64)
    assert (base.latent_channels, base.factor) == (4, 8)
    pixels = torch.from_numpy(picture).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.no_grad():
        expected = base.vae.encode(pixels).latent_dist.mean
    torch.testing.assert_close(base.scaled(mean), expected * scale, rtol=1e-5, atol=1e-6)
    base.components.config("vae").shift_factor = 0.5
    torch.testing.assert_close(base.scaled(mean), (expected - 0.5) * scale, rtol=1e-5, atol=1e-6)


def test_so_does_it_in_a_vae_of_full_size() -> None:
    with torch.device("meta"):
        posterior = AutoencoderKL(**VAE).encode(torch.empty(1, 3, 512, 512)).latent_dist
    assert posterior.mean.shape == (1, 4, 64, 64)


def test_vae_and_text_encoders_stay_in_fp32_whatever_the_precision(folders: dict[str, Path]) -> None:
    """SDXL's own VAE makes NaN in fp16, since its activations outgrow that type."""
    for dtype in (torch.float16, torch.bfloat16):
        base: Any = load_base("sdxl", folders["sdxl"], CPU, dtype)
        kinds = {name: next(base.components.network(name).parameters()).dtype for name in ("vae", *base.network_names)}
        assert kinds == {"vae": torch.float32, "unet": dtype} | dict.fromkeys(base.text_kinds, torch.float32)


def test_sizes_reach_the_unet_as_they_are(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """bfloat16 knows no number between 1024 and 1032."""
    base: Any = load_base("sdxl", folders["sdxl"], CPU, torch.bfloat16)
    seen: list[list[float]] = []

    def watched(numbers: Tensor, width: int, **how: Any) -> Tensor:
        seen.append(numbers.tolist())
        return sinusoids(numbers, width, **how)

    monkeypatch.setattr(unet, "sinusoids", watched)
    told = base.framed(base.encode_captions(["a star"]), [Framing((1025, 1371), (3, 17), (832, 1216))])
    with torch.no_grad():
        base.predict(torch.zeros(1, 4, 8, 8), torch.tensor([5]), told)
    assert seen == [[5], [1025, 1371, 3, 17, 832, 1216]]


def test_a_schedule_with_zero_terminal_snr_is_that_of_diffusers(folders: dict[str, Path]) -> None:
    own, rescaled = load("sd2", folders["sd2"]), load("sd2", folders["sd2"], zero_terminal_snr=True)
    expected = torch.cumprod(1 - rescale_zero_terminal_snr(own.pipeline().scheduler.betas), dim=0)
    torch.testing.assert_close(rescaled.alphas_cumprod, expected, rtol=1e-4, atol=1e-6)
    assert (float(rescaled.alphas_cumprod[-1]), own.alphas_cumprod[-1] > 0.004) == (0, True)
    config = rescaled.pipeline().scheduler.config
    assert (config.rescale_betas_zero_snr, config.timestep_spacing) == (True, "trailing")
    assert own.pipeline().scheduler.config.timestep_spacing == "leading"


def changed(folder: Path, out: Path, change: Callable[[Path], object]) -> Path:
    shutil.copytree(folder, out)
    change(out)
    return out


def rewritten(name: str, **values: object) -> Callable[[Path], object]:
    """A change of a JSON file; None takes an entry out."""

    def rewrite(folder: Path) -> None:
        path = folder / name
        entries = {**json.loads(path.read_text()), **values}
        path.write_text(json.dumps({key: value for key, value in entries.items() if value is not None}))

    return rewrite


SCHEDULER = "scheduler/scheduler_config.json"


def test_a_scheduler_that_knows_no_such_schedule_gives_way_to_one_that_does(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = changed(folders["sd2"], tmp_path / "base", rewritten(SCHEDULER, _class_name="PNDMScheduler"))
    assert isinstance(load("sd2", folder).pipeline().scheduler, PNDMScheduler)
    scheduler = load("sd2", folder, zero_terminal_snr=True).pipeline().scheduler
    assert type(scheduler).__name__ == "DDIMScheduler"
    assert scheduler.config.prediction_type == "v_prediction"
    assert float(scheduler.alphas_cumprod[-1]) == 0


@pytest.mark.parametrize(
    ("family", "written", "asked", "expected"),
    [
        ("sd15", "epsilon", None, "epsilon"),
        ("sd15", "epsilon", "v_prediction", "v_prediction"),
        ("sd2", "v_prediction", "epsilon", "epsilon"),
        ("sd2", None, None, "v_prediction"),
        ("sd15", None, None, "epsilon"),
        ("sdxl", None, None, "epsilon"),
        ("sdxl", "v_prediction", None, "v_prediction"),
    ],
)
def test_what_is_predicted_is_said_by_the_job_else_the_scheduler_else_the_family(
    family: str, written: str | None, asked: str | None, expected: str, folders: dict[str, Path], tmp_path: Path
) -> None:
    folder = changed(folders[family], tmp_path / "base", rewritten(SCHEDULER, prediction_type=written))
    base = load(family, folder, prediction_type=asked)
    assert base.prediction_type == base.pipeline().scheduler.config.prediction_type == expected


@pytest.mark.parametrize(
    ("family", "change", "options", "said"),
    [
        ("sd15", None, {"clip_skip": 3}, "clip_skip is 3, but the base model's text_encoder has 2 layers"),
        ("sdxl", None, {"clip_skip": 4}, "text_encoder has 3 layers"),
        ("sdxl", None, {"zero_terminal_snr": True}, "predicts the noise, which pure noise gives away"),
        ("sdxl", lambda folder: shutil.rmtree(folder / "text_encoder_2"), {}, "lacks text_encoder_2"),
        ("sdxl", lambda folder: shutil.rmtree(folder / "tokenizer_2"), {}, "lacks tokenizer_2"),
        ("sd15", rewritten("vae/config.json", latents_mean=[0, 0, 0, 0]), {}, "latents_mean"),
        ("sdxl", rewritten("unet/config.json", cross_attention_dim=48), {}, "width 48, its text encoders make 40"),
        ("sdxl", rewritten("unet/config.json", addition_embed_type=None), {}, "neither pooled text nor sizes"),
        ("sdxl", rewritten("text_encoder_2/config.json", projection_dim=21), {}, "pooled text and sizes are 69"),
    ],
)
def test_what_does_not_fit_is_named(
    family: str,
    change: Callable[[Path], object] | None,
    options: dict[str, Any],
    said: str,
    folders: dict[str, Path],
    tmp_path: Path,
) -> None:
    folder = folders[family] if change is None else changed(folders[family], tmp_path / "base", change)
    with pytest.raises(UserError, match=said):
        load(family, folder, **options)


@pytest.mark.parametrize(("family", "prediction"), [("sd15", "epsilon"), ("sd2", "v_prediction"), ("sdxl", "epsilon")])
def test_the_service_takes_a_base_for_the_same_family(family: str, prediction: str, folders: dict[str, Path]) -> None:
    folder = folders[family]
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    assert inspect(files) == Found(family, 64, prediction)


def test_marks_in_a_file_do_no_harm(folders: dict[str, Path], tmp_path: Path) -> None:
    def mark(folder: Path) -> None:
        path = folder / "unet/diffusion_pytorch_model.safetensors"
        save_file({**load_file(path), "v_pred": torch.empty(0), "ztsnr": torch.empty(0)}, path)

    folder = changed(folders["sd15"], tmp_path / "base", mark)
    files = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    assert inspect(files) == Found("sd15", 64, "v_prediction", zero_terminal_snr=True)
    marked, plain = load("sd15", folder).unet, load("sd15", folders["sd15"]).unet
    assert all(torch.equal(one, other) for one, other in zip(marked.parameters(), plain.parameters(), strict=True))


class Knowing:
    """A base that predicts one of the two, as well as such a base does: it does not know all of the noise."""

    def __init__(self, base: Any, predicts: str, latents: Tensor, eps: Tensor, sureness: float) -> None:
        self.alphas_cumprod, self.device = base.alphas_cumprod, base.device
        self._predicts, self._latents, self._eps, self._sureness = predicts, latents, eps, sureness

    def predict(self, noisy: Tensor, timesteps: Tensor, _: Conditioning) -> Tensor:
        abar = self.alphas_cumprod[timesteps]
        assert torch.equal(noisy, add_noise(self._latents, self._eps, abar))
        return self._sureness * target(self._predicts, self._latents, self._eps, abar)


@pytest.mark.parametrize("predicts", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("taken", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("sureness", [0.9, 0.5, 0.0])
def test_a_base_is_asked_what_it_predicts(predicts: str, taken: str, sureness: float, folders: dict[str, Path]) -> None:
    latents, eps = torch.randn(2, 2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    base: Any = Knowing(load("sd15", folders["sd15"]), predicts, latents, eps, sureness)
    errors = errors_by_type(base, latents, eps, Conditioning(torch.zeros(2, 77, 32)))
    assert errors[predicts] == pytest.approx((1 - sureness) ** 2, abs=1e-5)
    if predicts == taken or sureness == 0:
        confirm(taken, errors)
        return
    said = f"taken to predict {taken}, but it predicts {predicts}: .*{errors[taken]:.2f} of the target's size under {taken}"
    with pytest.raises(UserError, match=said) as refused:
        confirm(taken, errors)
    assert f"set loss.prediction_type to {predicts.upper()}" in str(refused.value)


def test_a_copy_of_a_base_has_networks_of_its_own(folders: dict[str, Path]) -> None:
    base = load("sdxl", folders["sdxl"])
    base.network("text_encoder")
    other = copy.deepcopy(base)
    assert other.text_encoders[0].network is other.network("text_encoder") is not base.network("text_encoder")
