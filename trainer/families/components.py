"""The parts of a base model in the diffusers layout, each loaded from its folder when it is first asked for.

Weights are safetensors alone. They are mapped into memory, so that only what is used is read, and moved to the device once.
Configurations and the UNet need neither diffusers nor transformers, whose import takes seconds; VAE, text encoders, tokenizers
and schedulers are theirs, and the libraries are imported with the first of them.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors import SafetensorError

from trainer.errors import UserError
from trainer.families.unet_config import filled_in, unet_config
from trainer.families.unet_loading import load_unet

_CLIP: Mapping[str, Any] = {
    "hidden_size": 512,
    "num_hidden_layers": 12,
    "max_position_embeddings": 77,
    "projection_dim": 512,
}
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "AutoencoderKL": {
        "latent_channels": 4,
        "block_out_channels": (64,),
        "scaling_factor": 0.18215,
        "shift_factor": None,
        "latents_mean": None,
    },
    "CLIPTextModel": _CLIP,
    "CLIPTextModelWithProjection": _CLIP,
}
"""What the libraries take for entries that a configuration leaves out, of those that are asked for here, by class."""

_SCHEDULE = ("beta_schedule", "beta_start", "beta_end", "num_train_timesteps")
_SCHEDULERS = frozenset(
    f"{name}Scheduler"
    for name in (
        "DDIM",
        "DDPM",
        "DPMSolverMultistep",
        "DPMSolverSinglestep",
        "EulerAncestralDiscrete",
        "EulerDiscrete",
        "HeunDiscrete",
        "LCM",
        "LMSDiscrete",
        "PNDM",
        "UniPCMultistep",
    )
)
"""Those that bases usually name, all of them diffusers'."""


class Components:
    """The components of the base model in `folder`. `kinds` are the networks' classes by name, such as
    `diffusers:AutoencoderKL`; the UNet is ours.

    UNets compute in `dtype`, all else in fp32: text encoders are small beside it, and SDXL's own VAE makes NaN of fp16, since
    some of its activations are larger than that type's largest number. Raises UserError for a component that is missing.
    """

    def __init__(
        self, folder: Path, family: str, kinds: Mapping[str, str], device: torch.device, dtype: torch.dtype
    ) -> None:
        self.device, self.dtype = device, dtype
        self._folder, self._family, self._kinds = folder, family, kinds
        self._loaded: dict[str, Any] = {}

    def require(self, names: tuple[str, ...]) -> None:
        """Raises UserError unless there is a folder of each name."""
        missing = [name for name in names if not (self._folder / name).is_dir()]
        if missing:
            raise UserError(
                f"The base model lacks {', '.join(missing)}; a base of {self._family} has {', '.join(names)}."
            )

    def is_loaded(self, name: str) -> bool:
        return name in self._loaded

    def release(self, name: str) -> None:
        """Lets go of a component; it is loaded again when it is asked for."""
        self._loaded.pop(name, None)

    def network(self, name: str) -> Any:
        """A frozen network, on the device; raises UserError where it cannot be read, or where the files do not hold all of it."""
        if name not in self._loaded:
            self._loaded[name] = self._network(name)
        return self._loaded[name]

    def tokenizer(self, name: str) -> Any:
        if name not in self._loaded:
            kind = _library_class("transformers:CLIPTokenizer")
            self._loaded[name] = kind.from_pretrained(self._folder / name, local_files_only=True)
        return self._loaded[name]

    def config(self, name: str) -> Any:
        """A network's configuration, its defaults filled in, without the network."""
        key = f"{name}/config.json"
        if key not in self._loaded:
            self._loaded[key] = self._config(name)
        return self._loaded[key]

    def scheduler(self) -> Any:
        """The scheduler that the base names in its own configuration, as diffusers would load it."""
        self._check_scheduler()
        kind = _library_class(f"diffusers:{self.scheduler_config()['_class_name']}")
        return kind.from_pretrained(self._folder / "scheduler", local_files_only=True)

    def scheduler_config(self) -> dict[str, Any]:
        """`scheduler_config.json` as it is written, without defaults."""
        found: dict[str, Any] = json.loads((self._folder / "scheduler" / "scheduler_config.json").read_text())
        return found

    def schedule(self) -> Mapping[str, Any]:
        """The scheduler's configuration with its class's defaults where it leaves out what training needs.

        Raises UserError for a scheduler that diffusers does not have.
        """
        written = self.scheduler_config()
        self._check_scheduler()
        if all(name in written for name in _SCHEDULE):
            return written
        config: Mapping[str, Any] = self.scheduler().config
        return config

    def _check_scheduler(self) -> None:
        name = self.scheduler_config().get("_class_name")
        if name in _SCHEDULERS:
            return
        if not (isinstance(name, str) and name.endswith("Scheduler") and hasattr(_library("diffusers"), name)):
            raise UserError(f"The base model names the scheduler {name!r}, which diffusers does not have.")

    def _config(self, name: str) -> Any:
        try:
            written = json.loads((self._folder / name / "config.json").read_text())
            if not isinstance(written, dict):
                raise ValueError("its config.json is no object")
            if written.get("model_type") == "clip":  # of both of CLIP's encoders
                written = written["text_config"]
        except (OSError, ValueError, KeyError) as error:
            raise self._unreadable(name, error) from error
        if name == "unet":
            return filled_in(written)
        return SimpleNamespace(**{**DEFAULTS[self._kinds[name].partition(":")[2]], **written})

    def _network(self, name: str) -> Any:
        folder = self._folder / name
        try:
            config = unet_config(self.config(name)) if name == "unet" else None
            if config is not None:
                network, missing = load_unet(folder, config, self.config(name), self.device, self.dtype)
            else:
                network, missing = self._of_a_library(name)
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise self._unreadable(name, error) from error
        if missing:
            raise UserError(
                f"The base model's {name} lacks {len(missing)} of its tensors, such as {missing[0]}; "
                f"import a complete {self._family} base."
            )
        return network.requires_grad_(False).eval().to(self.device)

    def _of_a_library(self, name: str) -> tuple[Any, list[str]]:
        """The network as its library loads it, and the names of the tensors that the files lack."""
        kind = self._kinds[name]
        dtype = self.dtype if name == "unet" else torch.float32
        network, found = _library_class(kind).from_pretrained(
            self._folder / name,
            local_files_only=True,
            use_safetensors=True,
            output_loading_info=True,
            **{"dtype" if kind.startswith("transformers:") else "torch_dtype": dtype},
        )
        return network, sorted(found["missing_keys"])

    def _unreadable(self, name: str, error: Exception) -> UserError:
        why = str(error).partition(". ")[0].removesuffix(".")
        return UserError(
            f"The base model's {name} cannot be loaded ({why}); import a complete {self._family} base in safetensors."
        )


def _library(name: str) -> Any:
    """diffusers or transformers, without its bars: they would end up in the run's log, which tells progress itself."""
    library = importlib.import_module(name)
    library.utils.logging.disable_progress_bar()
    return library


def _library_class(kind: str) -> Any:
    """The class called `library:Class`."""
    library, _, name = kind.partition(":")
    return getattr(_library(library), name)
