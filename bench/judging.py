"""What an adapter's file draws for the demo's prompts, judged. An adapter that was judged is not judged again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from deploy.examples.demo import dataset
from deploy.examples.demo.demo import BASE, TAG
from deploy.examples.demo.measure import KNOWN, KNOWN_PROMPTS, NEW_PROMPTS
from trainer.adapters.weights import LayerWeights
from trainer.builtin.shapes import draw, scoring
from trainer.builtin.shapes.judge import load_judge
from trainer.builtin.shapes.wishes import Wish, wishes
from trainer.formats.reading import read_adapter

COLUMNS = 8
"""Of the sheet of all pictures: the first rows are of the new word, the others of the known ones."""


@dataclass(frozen=True)
class Judgement:
    """For each prompt, whether the picture shows the shape that was asked for."""

    new: tuple[bool, ...]
    known: tuple[bool, ...]

    @property
    def hearts(self) -> float:
        """Share of the new word's prompts, in percent."""
        return 100 * float(np.mean(self.new))

    @property
    def kept(self) -> float:
        """Share of the known shapes' prompts, in percent."""
        return 100 * float(np.mean(self.known))


def asked() -> tuple[list[Wish], list[str]]:
    """What the demo asks for: wishes for hearts, then for known shapes; and the prompts that say so."""
    new = wishes([dataset.SHAPE], NEW_PROMPTS, first_seed=1000)
    known = wishes(KNOWN, KNOWN_PROMPTS, first_seed=2000)
    prompts = [f"{TAG}, {dataset.words(wish.color, wish.background)}" for wish in new]
    return [*new, *known], [*prompts, *(wish.prompt() for wish in known)]


def judge(adapter: Path | None, out: Path) -> Judgement:
    """Of the base alone where there is no adapter. Keeps `out` (JSON) and beside it a sheet of all pictures."""
    if not out.exists():
        wanted, prompts = asked()
        pipeline = scoring.load_pipeline(BASE)
        if adapter is not None:
            put_into(pipeline, adapter)
        pictures = scoring.sample(pipeline, prompts, [wish.seed for wish in wanted])
        verdicts = load_judge().verdicts(pictures)
        right = [verdict.shape == wish.shape for wish, verdict in zip(wanted, verdicts, strict=True)]
        found = Judgement(tuple(right[:NEW_PROMPTS]), tuple(right[NEW_PROMPTS:]))
        out.parent.mkdir(parents=True, exist_ok=True)
        sheet(pictures).save(out.with_suffix(".png"))
        out.with_suffix(".part").write_text(json.dumps(asdict(found)))
        out.with_suffix(".part").rename(out)
    read = json.loads(out.read_text())
    return Judgement(tuple(read["new"]), tuple(read["known"]))


def put_into(pipeline: StableDiffusionPipeline, adapter: Path) -> None:
    """By diffusers' own loader where it knows the type; else ΔW is added to the weights, which is what other loaders do."""
    layers = read_adapter(adapter).layers
    if all(is_plain(layer) for layer in layers):
        pipeline.load_lora_weights(adapter.parent, weight_name=adapter.name)
        return
    with torch.no_grad():
        for layer in layers:
            weight = getattr(pipeline, layer.network).get_submodule(layer.path).weight
            weight += layer.delta().view_as(weight)


def is_plain(layer: LayerWeights) -> bool:
    """Whether diffusers can load it."""
    return set(layer.tensors) == {"lora_down", "lora_up"}


def sheet(pictures: torch.Tensor) -> Image.Image:
    """Of pictures (N, 3, SIZE, SIZE) in [0, 1], row by row, without gaps; a last row that is not full ends in white."""
    missing = -len(pictures) % COLUMNS
    pictures = torch.cat([pictures, torch.ones(missing, *pictures.shape[1:])])
    tiles = (pictures.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
    rows = [np.concatenate(list(tiles[start : start + COLUMNS]), axis=1) for start in range(0, len(tiles), COLUMNS)]
    return Image.fromarray(np.concatenate(rows, axis=0))


def tiles(sheet_file: Path, places: Sequence[int]) -> list[Image.Image]:
    """Single pictures of a sheet."""
    whole = Image.open(sheet_file).convert("RGB")
    corners = [(place % COLUMNS * draw.SIZE, place // COLUMNS * draw.SIZE) for place in places]
    return [whole.crop((x, y, x + draw.SIZE, y + draw.SIZE)) for x, y in corners]
