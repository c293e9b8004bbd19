"""`compare-adapters`: the same prompts and seeds by several adapters' files beside each other, drawn by a base model at hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from loramill.comparison import Column, Prompt, comparison_page
from trainer.adapters.targets import layers_of
from trainer.adapters.weights import LayerWeights
from trainer.config import PreviewConfig
from trainer.errors import UserError
from trainer.families.base import Base
from trainer.families.registry import load_base
from trainer.formats.matching import matched
from trainer.formats.reading import AdapterFile, read_adapter
from trainer.png import as_png, pictures_of
from trainer.previews import draw_previews
from trainer.tools.options import Weighted
from trainer.tools.placing import check_free
from trainer.tools.printing import say


def compare_adapters(parts: Sequence[Weighted], base: Path, previews: PreviewConfig, out: Path, *, force: bool) -> None:
    """Writes the page. `base` is a folder in diffusers' layout, of the family of the adapters. Raises UserError for adapters that
    do not fit it, before anything is drawn."""
    check_free(out, force=force)
    names = _names(parts)
    files = [read_adapter(part.path) for part in parts]
    families = sorted({file.family for file in files})
    if len(families) > 1:
        raise UserError(f"The adapters are of the families {', '.join(families)}; compare those of one.")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loaded = load_base(families[0], base, device, torch.bfloat16 if device.type == "cuda" else torch.float32)
    layers = {name: layers_of(loaded.network(name)) for name in loaded.network_names}
    adapters = [matched(file.layers, layers) for file in files]
    columns = [_column(loaded, previews, "without adapter", "", (), 1.0)]
    for name, file, part, adapter in zip(names, files, parts, adapters, strict=True):
        say(f"drawing {name}")
        columns.append(_column(loaded, previews, name, _note(file), adapter, part.weight))
    prompts = [Prompt(text=one.prompt, negative=one.negative_prompt, seed=one.seed) for one in previews.prompts]
    how = (
        f"The same prompts and seeds on {base.resolve().name}: {previews.width} × {previews.height} pixels, "
        f"{previews.inference_steps} steps, guidance {previews.guidance_scale:g}, sampler {previews.sampler.replace('_', ' ')}."
    )
    out.write_text(comparison_page(f"{len(parts)} adapters", how, prompts, columns), encoding="utf-8")
    say(f"{out}: {len(prompts)} prompts by {len(parts)} adapters")


@contextmanager
def applied(base: Base, adapter: Sequence[LayerWeights], strength: float) -> Iterator[None]:
    """The base with strength · ΔW in its weights; afterwards they are what they were, to the bit."""
    modules = {name: dict(base.network(name).named_modules()) for name in base.network_names}
    before = []
    with torch.no_grad():
        for layer in adapter:
            weight = modules[layer.network][layer.path].weight
            assert isinstance(weight, torch.Tensor)
            before.append((weight, weight.clone()))
            weight.copy_(weight.float() + strength * layer.delta().to(weight.device))
    try:
        yield
    finally:
        with torch.no_grad():
            for weight, values in before:
                weight.copy_(values)


def _column(
    base: Base, previews: PreviewConfig, name: str, note: str, adapter: Sequence[LayerWeights], strength: float
) -> Column:
    with applied(base, adapter, strength):
        pictures = pictures_of(draw_previews(base, base.encode_captions, previews))
    return Column(name=name, note=note, pictures=[as_png(picture) for picture in pictures])


def _names(parts: Sequence[Weighted]) -> list[str]:
    """A name for each: the file's own, else as much of its path as tells it from the others; its strength where it is not 1."""
    stems = Counter(path.stem for path in {part.path for part in parts})
    told = [part.path.stem if stems[part.path.stem] == 1 else str(part.path) for part in parts]
    names = [name if part.weight == 1 else f"{name} at {part.weight:g}" for name, part in zip(told, parts, strict=True)]
    if len(set(names)) < len(names):
        raise UserError("An adapter is named twice at the same strength; name each once.")
    return names


def _note(file: AdapterFile) -> str:
    kinds = ", ".join(sorted({layer.kind.name for layer in file.layers}))
    return f"{kinds}, {len(file.layers)} layers"
