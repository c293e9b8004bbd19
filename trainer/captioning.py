"""Captions of pictures by a model that somebody trained for it: one that writes (BLIP, Florence-2, GIT) or one that tags.

Models are folders as transformers saves them, safetensors only; code that comes with a model is never run.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError

from trainer.data.images import Decoder
from trainer.errors import UserError

_LONGEST = 77
"""Tokens that are written of a picture; text encoders read about as many."""
_BEAMS = 3
_LONGEST_SIDE = 1024
"""Pixels that are shown to a model; all of them make pictures smaller still."""
TAGGER = "ForImageClassification"
"""What the name of a model's class ends in; imports take the same."""
WRITERS = ("ForConditionalGeneration", "ForCausalLM", "ForImageTextToText", "VisionEncoderDecoderModel")

transformers.utils.logging.disable_progress_bar()


class Captioner(Protocol):
    """A loaded model that tells what pictures show."""

    def caption(self, pixels: NDArray[np.uint8]) -> str:
        """Of a picture (H, W, 3) in sRGB, on one line; the same for the same picture."""
        ...


def shown_pixels(decoder: Decoder, path: Path) -> NDArray[np.uint8]:
    """A picture file as captioners are shown it, (H, W, 3) in sRGB. Raises UnreadablePicture."""
    found = decoder.probe(path)
    scale = min(1.0, _LONGEST_SIDE / max(found.width, found.height))
    size = max(1, round(found.width * scale)), max(1, round(found.height * scale))
    return decoder.pixels(path, size, (0, 0, *size))


def load_captioner(folder: Path, device: torch.device, *, prompt: str, threshold: float) -> Captioner:
    """The model in a folder. `prompt` is what a writer goes on from, or its task; `threshold` (0 to 1) is a tagger's.

    Raises UserError where it cannot be used.
    """
    config = _config(folder)
    kinds = [str(kind) for kind in config.get("architectures") or ()]
    if any(kind.endswith(TAGGER) for kind in kinds):
        if prompt:
            raise UserError(f"{folder} is a tagger ({kinds[0]}), which takes no prompt; leave it out.")
        return _Tagger(folder, device, threshold)
    if any(kind.endswith(WRITERS) for kind in kinds):
        return _Writer(folder, device, prompt)
    raise UserError(
        f"{folder} holds {kinds[0] if kinds else 'a model of an unknown kind'}, which does not caption pictures; "
        f"name a folder with a model of a kind that ends in {', '.join((*WRITERS, TAGGER))}."
    )


def _config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{folder} has no config.json; name the folder of a model as transformers saves it.") from None
    except (ValueError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not JSON ({error}); fetch the model again.") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} is not an object; fetch the model again.")
    if "auto_map" in config:
        raise UserError(
            f"{folder} needs code of its own (auto_map in config.json), which is never run; "
            "use a model that transformers itself knows, such as the converted form of the same."
        )
    if not any(folder.glob("*.safetensors")):
        raise UserError(f"{folder} has no weights in safetensors; save them so, other formats can run code when read.")
    return config


def _loaded(kind: Any, folder: Path, **options: Any) -> Any:
    try:
        return kind.from_pretrained(folder, local_files_only=True, trust_remote_code=False, **options)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        why = str(error).strip().partition("\n")[0].removesuffix(".")
        raise UserError(f"{folder} cannot be loaded ({why}); name the folder of a complete model.") from error


class _Writer:
    """Writes a sentence."""

    def __init__(self, folder: Path, device: torch.device, prompt: str) -> None:
        self._prompt, self._device = prompt, device
        self._processor = _loaded(transformers.AutoProcessor, folder)
        self._model = _loaded(transformers.AutoModelForImageTextToText, folder, use_safetensors=True)
        self._model = self._model.to(device).eval()

    @torch.no_grad()
    def caption(self, pixels: NDArray[np.uint8]) -> str:
        picture = Image.fromarray(pixels)
        given = {"text": self._prompt} if self._prompt else {}
        inputs = self._processor(images=picture, return_tensors="pt", **given).to(self._device)
        written = self._model.generate(**inputs, max_new_tokens=_LONGEST, num_beams=_BEAMS, do_sample=False)
        text: str = self._processor.batch_decode(written, skip_special_tokens=True)[0]
        return " ".join(text.split())


class _Tagger:
    """Names what is there, the surest first."""

    def __init__(self, folder: Path, device: torch.device, threshold: float) -> None:
        self._threshold, self._device = threshold, device
        self._processor = _loaded(transformers.AutoImageProcessor, folder)
        self._model = _loaded(transformers.AutoModelForImageClassification, folder, use_safetensors=True)
        self._model = self._model.to(device).eval()

    @torch.no_grad()
    def caption(self, pixels: NDArray[np.uint8]) -> str:
        inputs = self._processor(images=Image.fromarray(pixels), return_tensors="pt").to(self._device)
        sure = torch.sigmoid(self._model(**inputs).logits[0].float()).cpu()
        names = self._model.config.id2label
        order = torch.argsort(sure, descending=True, stable=True).tolist()
        chosen = [str(names[place]) for place in order if sure[place] >= self._threshold]
        return ", ".join(" ".join(name.replace("_", " ").split()) for name in chosen)
