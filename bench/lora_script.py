"""The other side of `bench.step`: the loop of diffusers' LoRA script, written out with that script's own parts.

It is examples/text_to_image/train_text_to_image_lora.py with its defaults: diffusers' networks, LoRA put in by PEFT (attention
alone, alpha = rank), accelerate around model, optimizer, data and schedule, torch's AdamW. In every step it encodes picture and
caption, as the script does. Two of its libraries are no dependency here: `datasets` is a list of files and torchvision's
transforms are Pillow and NumPy, which costs less to import and no more to use.

    python -m bench.lora_script BASE DATA OUT [--steps N] [--rank R] [--batch-size B] [--threads T]

trains, saves the adapter to the folder OUT, and writes there the time at which the first step was done (seconds since the epoch).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from diffusers import AutoencoderKL, DDPMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.optimization import get_scheduler
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from PIL import Image
from torch import Tensor
from tqdm.auto import tqdm
from transformers import CLIPTextModel, CLIPTokenizer

FIRST_STEP = "first-step"
"""File in the folder of results: when the first step was done."""
TARGETS = ["to_k", "to_q", "to_v", "to_out.0"]


@dataclass(frozen=True)
class Draws:
    """What a step draws for its pictures, and how sure the VAE is; to be compared with another trainer's step."""

    latents: Tensor
    noise: Tensor
    timesteps: Tensor


class Pictures(torch.utils.data.Dataset[dict[str, Tensor]]):
    """Pictures of one size with a caption in a text file each, read again in every visit as `with_transform` does."""

    def __init__(self, folder: Path, tokenizer: CLIPTokenizer) -> None:
        self._files = sorted(folder.glob("*.png"))
        self._tokenizer = tokenizer

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        file = self._files[number]
        pixels = torch.from_numpy(np.array(Image.open(file).convert("RGB"))).permute(2, 0, 1).float() / 255
        ids = self._tokenizer(
            file.with_suffix(".txt").read_text().strip(),
            max_length=self._tokenizer.model_max_length,
            padding="max_length",
            truncation=True,
            return_tensors="pt",
        ).input_ids[0]
        return {"pixel_values": (pixels - 0.5) / 0.5, "input_ids": ids}


def _collated(examples: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([example[name] for example in examples]) for name in examples[0]}


class LoraScript:
    """One training, ready for its first step."""

    def __init__(self, base: Path, data: Path, *, rank: int, batch_size: int, rate: float, steps: int) -> None:
        self.accelerator = Accelerator()
        self.scheduler = DDPMScheduler.from_pretrained(base, subfolder="scheduler")
        tokenizer = CLIPTokenizer.from_pretrained(base, subfolder="tokenizer")
        self.text_encoder = CLIPTextModel.from_pretrained(base, subfolder="text_encoder", torch_dtype=torch.float32)
        self.vae = AutoencoderKL.from_pretrained(base, subfolder="vae", torch_dtype=torch.float32)
        unet = UNet2DConditionModel.from_pretrained(base, subfolder="unet", torch_dtype=torch.float32)
        for network in (unet, self.vae, self.text_encoder):
            network.requires_grad_(False)
            network.to(self.accelerator.device, dtype=torch.float32)
        unet.add_adapter(
            LoraConfig(r=rank, lora_alpha=rank, init_lora_weights="gaussian", target_modules=list(TARGETS))
        )
        self.trained = [parameter for parameter in unet.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(self.trained, lr=rate, betas=(0.9, 0.999), weight_decay=1e-2, eps=1e-8)
        loader = torch.utils.data.DataLoader(
            Pictures(data, tokenizer), shuffle=True, collate_fn=_collated, batch_size=batch_size
        )
        schedule = get_scheduler("constant", optimizer=optimizer, num_warmup_steps=0, num_training_steps=steps)
        self.unet, self.optimizer, self._loader, self.schedule = self.accelerator.prepare(
            unet, optimizer, loader, schedule
        )
        self._bar = tqdm(range(steps), disable=True)
        self._batches: Iterator[dict[str, Tensor]] = iter(())

    def batch(self) -> dict[str, Tensor]:
        """The next one; an epoch ends where there is none."""
        found = next(self._batches, None)
        if found is None:
            self.unet.train()
            self._batches = iter(self._loader)
            found = next(self._batches)
        return found

    def drawn(self, batch: dict[str, Tensor]) -> Draws:
        """Latents of the pictures, noise, timesteps."""
        latents = self.vae.encode(batch["pixel_values"].to(torch.float32)).latent_dist.sample()
        latents = latents * self.vae.config.scaling_factor
        return Draws(
            latents,
            torch.randn_like(latents),
            torch.randint(0, self.scheduler.config.num_train_timesteps, (len(latents),), device=latents.device).long(),
        )

    def loss(self, draws: Draws, ids: Tensor) -> Tensor:
        """Of one batch: the mean squared error of the predicted noise."""
        noisy = self.scheduler.add_noise(draws.latents, draws.noise, draws.timesteps)
        words = self.text_encoder(ids, return_dict=False)[0]
        prediction = self.unet(noisy, draws.timesteps, words, return_dict=False)[0]
        return F.mse_loss(prediction.float(), draws.noise.float(), reduction="mean")

    def step(self) -> float:
        """One optimizer step; its loss."""
        batch = self.batch()
        with self.accelerator.accumulate(self.unet):
            loss = self.loss(self.drawn(batch), batch["input_ids"])
            mean: Any = self.accelerator.gather(loss.repeat(len(batch["input_ids"]))).mean()
            told = float(mean.item())
            self.accelerator.backward(loss)
            if self.accelerator.sync_gradients:
                self.accelerator.clip_grad_norm_(self.trained, 1.0)
            self.optimizer.step()
            self.schedule.step()
            self.optimizer.zero_grad()
        self._bar.update(1)
        self._bar.set_postfix(step_loss=told, lr=self.schedule.get_last_lr()[0])
        return told

    def save(self, folder: Path) -> None:
        """The adapter, as the script writes it."""
        unet = self.accelerator.unwrap_model(self.unet)
        tensors = convert_state_dict_to_diffusers(get_peft_model_state_dict(unet))
        StableDiffusionPipeline.save_lora_weights(
            save_directory=folder, unet_lora_layers=tensors, safe_serialization=True
        )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.lora_script", description=__doc__.partition("\n")[0])
    for name in ("base", "data", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--rank", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    training = LoraScript(
        options.base, options.data, rank=options.rank, batch_size=options.batch_size, rate=1e-4, steps=options.steps
    )
    options.out.mkdir(parents=True, exist_ok=True)
    for step in range(options.steps):
        training.step()
        if step == 0:
            (options.out / FIRST_STEP).write_text(repr(time.time()))
    training.save(options.out)


if __name__ == "__main__":
    main()
