"""What the families of Stable Diffusion have in common: CLIP text encoders, a VAE with four latent channels, a UNet with
cross-attention, and a scheduler that says how noise is added and what is predicted.

A family is a subclass that names its components and how its text encoders are read. Any base of its layout belongs to it, at
any size.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from trainer.errors import UserError
from trainer.families.base import BaseOptions, Conditioning, Framing
from trainer.families.components import Components
from trainer.families.facts import FamilyFacts
from trainer.families.text import Encoded, TextEncoder, of_one_length
from trainer.noise import BETA_SCHEDULES, PREDICTION_TYPES, alphas_cumprod
from trainer.samplers import SamplerName, scheduler_for


class StableDiffusion:
    """A base of one of the families; see `families.base.Base`. VAE and text encoders stay in fp32, the UNet takes `dtype`."""

    family: ClassVar[str]
    component_names: ClassVar[tuple[str, ...]]
    text_kinds: ClassVar[Mapping[str, str]]
    """The classes of the text encoders, by name, each after its library: `transformers:CLIPTextModel`."""
    default_prediction: ClassVar[str] = "epsilon"

    def __init__(
        self,
        folder: Path,
        device: torch.device,
        dtype: torch.dtype,
        options: BaseOptions = BaseOptions(),  # noqa: B008  (frozen)
    ) -> None:
        self.device, self.dtype = device, dtype
        kinds = {**self.text_kinds, "vae": "diffusers:AutoencoderKL", "unet": "diffusers:UNet2DConditionModel"}
        self.components = Components(folder, self.family, kinds, device, dtype)
        self.components.require(self.component_names)
        self.network_names: Sequence[str] = ("unet", *self.text_kinds)
        self.text_encoders: Sequence[TextEncoder] = self._text_encoders(options.clip_skip)
        for encoder in self.text_encoders:
            encoder.most = options.max_tokens
        self._check()
        schedule = self._schedule(options)
        self.prediction_type: str = schedule["prediction_type"]
        self.facts = self._facts()
        self._zero_terminal_snr: bool = schedule["rescale_betas_zero_snr"]
        self.alphas_cumprod = alphas_cumprod(
            schedule["beta_schedule"],
            schedule["beta_start"],
            schedule["beta_end"],
            schedule["num_train_timesteps"],
            zero_terminal_snr=self._zero_terminal_snr,
        ).to(device)
        vae = self.components.config("vae")
        self.latent_channels: int = vae.latent_channels
        self.factor: int = 2 ** (len(vae.block_out_channels) - 1)

    def _text_encoders(self, clip_skip: int | None) -> tuple[TextEncoder, ...]:
        """Of every subclass: how each encoder is read, by default and with this `clip_skip`."""
        raise NotImplementedError

    def _facts(self) -> FamilyFacts:
        """Of every subclass: how it is called elsewhere."""
        raise NotImplementedError

    def _check(self) -> None:
        """Raises UserError where the components do not fit each other."""
        unet, vae = self.components.config("unet"), self.components.config("vae")
        made = sum(encoder.width for encoder in self.text_encoders)
        if unet.cross_attention_dim != made:
            makes = "text encoder makes" if len(self.text_encoders) == 1 else "text encoders make"
            raise UserError(
                f"The base model's UNet attends to words of width {unet.cross_attention_dim}, its {makes} {made}: they do "
                f"not belong together; import a complete {self.family} base."
            )
        if unet.in_channels != vae.latent_channels:
            raise UserError(
                f"The base model's UNet takes {unet.in_channels} channels and its VAE makes {vae.latent_channels}; "
                "inpainting and depth models cannot be trained on."
            )
        if getattr(vae, "latents_mean", None) is not None:
            raise UserError(
                "The base model's VAE has latents_mean, a scaling of each channel, which is not supported; use another VAE."
            )

    def _schedule(self, options: BaseOptions) -> Mapping[str, Any]:
        """The scheduler's configuration, with what the job asks for in its place; raises UserError for what is not supported."""
        written, config = self.components.scheduler_config(), self.components.schedule()
        schedule = {
            "prediction_type": options.prediction_type or written.get("prediction_type", self.default_prediction),
            "rescale_betas_zero_snr": config.get("rescale_betas_zero_snr", False),
            **{name: config[name] for name in ("beta_schedule", "beta_start", "beta_end", "num_train_timesteps")},
        }
        for name, allowed in (("beta_schedule", BETA_SCHEDULES), ("prediction_type", PREDICTION_TYPES)):
            if schedule[name] not in allowed:
                raise UserError(
                    f"The base model's scheduler has {name} {schedule[name]!r}, which is not supported; "
                    f"a base of {self.family} has one of {', '.join(allowed)}."
                )
        if config.get("trained_betas") is not None:
            raise UserError(
                "The base model's scheduler has trained_betas, which is not supported; use another base model."
            )
        if options.zero_terminal_snr is not None:
            schedule["rescale_betas_zero_snr"] = options.zero_terminal_snr
        if options.zero_terminal_snr and schedule["prediction_type"] == "epsilon":
            raise UserError(
                "zero_terminal_snr is set, but the base model predicts the noise, which pure noise gives away; "
                "leave it out, or use a base that predicts the velocity."
            )
        return schedule

    def _scheduler(self) -> Any:
        """The base's own scheduler; where the job asks for another schedule than its, with that."""
        own = self.components.scheduler()
        changes: dict[str, Any] = {}
        if own.config.get("prediction_type", "epsilon") != self.prediction_type:
            changes["prediction_type"] = self.prediction_type
        if own.config.get("rescale_betas_zero_snr", False) != self._zero_terminal_snr:
            changes["rescale_betas_zero_snr"] = self._zero_terminal_snr
            if "rescale_betas_zero_snr" not in inspect.signature(type(own)).parameters:
                from diffusers import DDIMScheduler

                own = DDIMScheduler.from_config(own.config)
            if self._zero_terminal_snr:
                # Pictures are drawn from the timestep of pure noise on (Lin et al., arXiv 2305.08891, sec. 3.3).
                changes["timestep_spacing"] = "trailing"
        return type(own).from_config(own.config, **changes) if changes else own

    @property
    def vae(self) -> Any:
        return self.components.network("vae")

    @property
    def unet(self) -> Any:
        return self.network("unet")

    def network(self, name: str) -> Any:
        if name not in self.network_names:
            raise UserError(f"A base of {self.family} has no {name}; set {name}.train to false.")
        fresh = not self.components.is_loaded(name)
        network = self.components.network(name)
        if fresh and name == "unet":
            # diffusers' pipeline hands over what text encoder and scheduler make, which is fp32.
            network.register_forward_pre_hook(self._as_unet_type, with_kwargs=True)
        return network

    @property
    def loaded_networks(self) -> Mapping[str, torch.nn.Module]:
        return {name: self.network(name) for name in self.network_names if self.components.is_loaded(name)}

    def keep(self, names: Collection[str]) -> None:
        for name in set(self.network_names) - set(names):
            self.components.release(name)

    def _as_unet_type(self, _: torch.nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """The UNet's inputs in its own number type, but for timesteps, sizes and crops: bfloat16 cannot count to 1000."""

        def cast(value: Any) -> Any:
            return value.to(self.dtype) if isinstance(value, Tensor) and value.is_floating_point() else value

        noisy, timesteps, *more = args
        return (cast(noisy), timesteps, *map(cast, more)), {name: cast(value) for name, value in kwargs.items()}

    @torch.no_grad()
    def encode_pictures(self, pictures: np.ndarray) -> tuple[Tensor, Tensor]:
        pixels = torch.from_numpy(pictures).to(self.device).permute(0, 3, 1, 2).float() / 127.5 - 1
        posterior = self.vae.encode(pixels).latent_dist
        return posterior.mean.cpu(), posterior.logvar.cpu()

    @torch.no_grad()
    def decode_latents(self, latents: Tensor) -> np.ndarray:
        pictures = self.vae.decode(latents.to(self.device)).sample.clamp(-1, 1) / 2 + 0.5
        found: np.ndarray = pictures.permute(0, 2, 3, 1).float().cpu().numpy()
        return found

    def scaled(self, latents: Tensor) -> Tensor:
        """(latents - shift) * scale, by the VAE's configuration; Stable Diffusion's have no shift."""
        vae = self.components.config("vae")
        factor: float = vae.scaling_factor
        shift: float | None = getattr(vae, "shift_factor", None)
        return (latents if not shift else latents - shift) * factor

    def unscaled(self, latents: Tensor) -> Tensor:
        """latents / scale + shift."""
        vae = self.components.config("vae")
        factor: float = vae.scaling_factor
        shift: float | None = getattr(vae, "shift_factor", None)
        return latents / factor + (shift or 0.0)

    def joined(self, encoded: Sequence[Encoded]) -> Conditioning:
        if any(one.chunks != encoded[0].chunks for one in encoded):
            raise UserError(
                "The base model's tokenizers split a caption into different numbers of chunks, so that its words cannot stand "
                "side by side; set text.max_tokens to 75, or use another base model."
            )
        words = [one.words for one in encoded]
        return Conditioning(words[0] if len(words) == 1 else torch.cat(words, dim=-1), encoded[-1].pooled)

    def encode_captions(self, captions: Sequence[str]) -> Conditioning:
        return self.joined([encoder.encode(captions) for encoder in self.text_encoders])

    def framed(self, conditioning: Conditioning, framings: Sequence[Framing]) -> Conditioning:  # noqa: ARG002
        """As it is: only SDXL is told of sizes."""
        return conditioning

    def predict(self, noisy: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        out: Tensor = self.unet(noisy, timesteps, conditioning.words, return_dict=False)[0]
        return out.float()

    def _pipeline(self, scheduler: Any) -> Any:
        """Of every subclass: diffusers' pipeline."""
        raise NotImplementedError

    def pipeline(self, sampler: SamplerName = "base") -> Any:
        pipeline = self._pipeline(scheduler_for(sampler, self._scheduler()))
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def prompts(self, wanted: Conditioning, unwanted: Conditioning) -> dict[str, Tensor]:
        prompt, negative = of_one_length(wanted.words, unwanted.words)
        return {"prompt_embeds": prompt, "negative_prompt_embeds": negative}
