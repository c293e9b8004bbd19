"""`merge --into`: a copy of a base model with adapters in its weights, in fp32, and what narrower numbers would lose of them."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from trainer.adapters.weights import LayerWeights
from trainer.errors import UserError
from trainer.formats.matching import matched
from trainer.formats.streaming import write_in_fp32
from trainer.tools.base_weights import INDEX, WEIGHTS, BaseWeights, open_base
from trainer.tools.history import HISTORY, Deed, header
from trainer.tools.merge import read_all
from trainer.tools.options import Precision, Weighted
from trainer.tools.placing import check_free, placed
from trainer.tools.printing import say, share
from trainer.tools.writing import DTYPES

_WEIGHT_FILES = (
    "*.safetensors",
    "*.safetensors.index.json",
    "*.bin",
    "*.bin.index.json",
    "*.ckpt",
    "*.pt",
    "*.msgpack",
)
_PICKLES = ("*.bin", "*.bin.index.json", "*.ckpt", "*.pt")

Parts = Mapping[str, Sequence[tuple[LayerWeights, float]]]
"""By the name of a tensor, `<network>.<path>.weight`: what is added to it, and times what."""


@dataclass
class Losses:
    """Squares of norms, summed over all layers."""

    whole: float = 0.0
    """Of the changes."""
    lost: dict[Precision, float] = field(default_factory=lambda: dict.fromkeys(DTYPES, 0.0))
    """By precision: of what rounding takes from the changes."""

    def add(self, before: Tensor, after: Tensor) -> None:
        """`before` and `after` are a layer's weight, fp64. What counts is the difference of the two as they are stored."""
        change = after - before
        self.whole += float(change.square().sum())
        for precision, dtype in DTYPES.items():
            stored = after.to(dtype).double() - before.to(dtype).double()
            self.lost[precision] += float((stored - change).square().sum())

    def share(self, precision: Precision) -> float:
        """||lost|| / ||whole||."""
        return math.sqrt(self.lost[precision] / self.whole) if self.whole else 0.0


def merge_into(parts: Sequence[Weighted], base: Path, out: Path) -> None:
    """Writes the folder `out`, in diffusers' layout; raises UserError for adapters that do not fit the base."""
    check_free(out, force=False)
    if not (base / INDEX).is_file():
        raise UserError(f"{base} has no {INDEX}; --into takes a folder in diffusers' layout.")
    files, weights = read_all(parts), open_base(base)
    if files[0].family != weights.family:
        raise UserError(
            f"{files[0].path.name} was made for {files[0].family}, but {base.name} is of {weights.family}; merge it into a "
            "base model of its own family."
        )
    added: dict[str, list[tuple[LayerWeights, float]]] = {}
    for file, part in zip(files, parts, strict=True):
        for layer in matched(file.layers, weights.layers):
            added.setdefault(f"{layer.name}.weight", []).append((layer, part.weight))
    networks = [network for network in weights.places if any(name.startswith(f"{network}.") for name in added)]
    deed = Deed(tool="merge", options={"into": base.name}, inputs=files, weights=[part.weight for part in parts])
    told, losses = {HISTORY: header(deed)[HISTORY]}, Losses()
    with placed(out, force=False) as path:
        _copy(base, path, networks)
        for network in networks:
            _write_network(path / network / WEIGHTS[network], weights, network, added, losses, told)
    say(f"{out}: {len(added)} weights of {', '.join(networks)} changed, all of these networks in fp32")
    say(
        "Of the change in norm, rounding takes "
        + ", ".join(f"{share(losses.share(precision))} in {precision}" for precision in DTYPES)
        + "."
    )


def _copy(base: Path, out: Path, networks: Sequence[str]) -> None:
    """All but pickles and the weights of these networks, whose configuration says fp32 from now on."""
    replaced = {base / network for network in networks}

    def ignored(folder: str, found: list[str]) -> set[str]:
        return shutil.ignore_patterns(*(_WEIGHT_FILES if Path(folder) in replaced else _PICKLES))(folder, found)

    shutil.copytree(base, out, ignore=ignored)
    for network in networks:
        config = out / network / "config.json"
        told = json.loads(config.read_text(encoding="utf-8"))
        told |= {key: "float32" for key in ("dtype", "torch_dtype") if key in told}
        config.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def _write_network(
    file: Path, weights: BaseWeights, network: str, added: Parts, losses: Losses, told: Mapping[str, str]
) -> None:
    names = {place.key: name for name, place in weights.places[network].items()}

    def tensor_of(key: str) -> Tensor:
        tensor = weights.tensor(network, names[key])
        parts = added.get(f"{network}.{names[key]}")
        if parts is None:
            return tensor
        before = tensor.double()
        after = before + sum(weight * layer.delta(torch.float64) for layer, weight in parts)
        losses.add(before, after)
        return after

    shapes = {place.key: place.shape for place in weights.places[network].values()}
    write_in_fp32(file, shapes, tensor_of, {"format": "pt", **told})
