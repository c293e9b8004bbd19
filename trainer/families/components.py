"""The parts of a base model in the diffusers layout, each loaded from its folder when it is first asked for.

Weights are safetensors alone. They are mapped into memory, so that only what is used is read, and moved to the device once.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import diffusers
import torch
import transformers
from safetensors import SafetensorError
from transformers import CLIPTextConfig, CLIPTokenizer

from trainer.errors import UserError

# Their bars would end up in the run's log; progress is told by the run itself.
diffusers.utils.logging.disable_progress_bar()
transformers.utils.logging.disable_progress_bar()


class Components:
    """The components of the base model in `folder`. `kinds` are the networks' classes by name.

    UNets compute in `dtype`, all else in fp32: text encoders are small beside it, and SDXL's own VAE makes NaN of fp16, since
    some of its activations are larger than that type's largest number. Raises UserError for a component that is missing.
    """

    def __init__(
        self, folder: Path, family: str, kinds: Mapping[str, Any], device: torch.device, dtype: torch.dtype
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
            self._loaded[name] = CLIPTokenizer.from_pretrained(self._folder / name, local_files_only=True)
        return self._loaded[name]

    def config(self, name: str) -> Any:
        """A network's configuration, its defaults filled in, without the network."""
        key = f"{name}/config.json"
        if key not in self._loaded:
            self._loaded[key] = self._config(name)
        return self._loaded[key]

    def scheduler(self) -> Any:
        """The scheduler that the base names in its own configuration, as diffusers would load it."""
        folder = self._folder / "scheduler"
        name = self.scheduler_config().get("_class_name")
        if not (isinstance(name, str) and name.endswith("Scheduler") and hasattr(diffusers, name)):
            raise UserError(f"The base model names the scheduler {name!r}, which diffusers does not have.")
        return getattr(diffusers, name).from_pretrained(folder, local_files_only=True)

    def scheduler_config(self) -> dict[str, Any]:
        """`scheduler_config.json` as it is written, without defaults."""
        found: dict[str, Any] = json.loads((self._folder / "scheduler" / "scheduler_config.json").read_text())
        return found

    def _config(self, name: str) -> Any:
        kind = self._kinds[name]
        try:
            if issubclass(kind, transformers.PreTrainedModel):
                return CLIPTextConfig.from_pretrained(self._folder / name, local_files_only=True)
            written = kind.load_config(self._folder / name, local_files_only=True)
            return SimpleNamespace(**{**_defaults(kind), **written})
        except (OSError, ValueError) as error:
            raise self._unreadable(name, error) from error

    def _network(self, name: str) -> Any:
        kind, folder = self._kinds[name], self._folder / name
        of_transformers = issubclass(kind, transformers.PreTrainedModel)
        dtype = self.dtype if name == "unet" else torch.float32
        try:
            network, found = kind.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                output_loading_info=True,
                **{"dtype" if of_transformers else "torch_dtype": dtype},
            )
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise self._unreadable(name, error) from error
        missing = sorted(found["missing_keys"])
        if missing:
            raise UserError(
                f"The base model's {name} lacks {len(missing)} of its tensors, such as {missing[0]}; "
                f"import a complete {self._family} base."
            )
        return network.requires_grad_(False).eval().to(self.device)

    def _unreadable(self, name: str, error: Exception) -> UserError:
        why = str(error).partition(". ")[0].removesuffix(".")
        return UserError(
            f"The base model's {name} cannot be loaded ({why}); import a complete {self._family} base in safetensors."
        )


def _defaults(kind: Any) -> dict[str, Any]:
    """What a class of diffusers takes for the entries that a configuration leaves out."""
    parameters = inspect.signature(kind.__init__).parameters.values()
    return {one.name: one.default for one in parameters if one.default is not inspect.Parameter.empty}
