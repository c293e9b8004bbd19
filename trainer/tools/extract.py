"""`extract`: the difference of two models as a plain LoRA, layer by layer; neither model is ever whole in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import track
from torch import Tensor

from store.digests import sha256_of
from trainer.adapters.reduction import Reduction, lora_tensors, rank_for_energy, reduction_of
from trainer.adapters.spectrum import of_matrix
from trainer.adapters.targets import Layer, text_encoder_targets, unet_targets
from trainer.adapters.weights import LayerWeights
from trainer.config import Targets
from trainer.errors import UserError
from trainer.formats.assembly import listed
from trainer.tools.account import print_account, print_written
from trainer.tools.base_weights import BaseWeights, open_base
from trainer.tools.history import Deed, header
from trainer.tools.options import Limits, Precision
from trainer.tools.placing import check_free, placed
from trainer.tools.printing import say, share
from trainer.tools.writing import measured, write_adapter


def extract(
    tuned: Path, base: Path, out: Path, limits: Limits, targets: Targets, precision: Precision, *, force: bool
) -> None:
    """Writes `out` in kohya's format; raises UserError for models of different layouts, and for equal ones."""
    check_free(out, force=force)
    after, before = open_base(tuned), open_base(base)
    chosen = _chosen(after, before, targets)
    console = Console(stderr=True)
    found = [
        layer
        for network, path in track(
            chosen, "Extracting", console=console, transient=True, disable=not console.is_terminal
        )
        if (layer := _extracted(after, before, network, path, limits)) is not None
    ]
    if not found:
        raise UserError(
            f"{tuned.name} and {base.name} are equal in all {len(chosen)} layers; there is nothing to extract."
        )
    layers, reductions = [layer for layer, _ in found], [reduction for _, reduction in found]
    deed = Deed(
        tool="extract",
        options={"dtype": precision, "targets": targets, **limits.said()},
        inputs=(),
        more={"tuned": _digests(after), "base": _digests(before)},
    )
    with placed(out, force=force) as path:
        write_adapter(path, layers, "kohya", after.family, precision, header(deed, layers))
        written = measured(path, layers)
    print_account(layers, reductions)
    for sentence in _remarks(after, before, chosen, reductions):
        say(sentence)
    print_written(out, "kohya", precision, written)


def _chosen(after: BaseWeights, before: BaseWeights, targets: Targets) -> list[tuple[str, str]]:
    """Network and path of each layer that is compared."""
    problems, chosen = [], []
    for network in after.layers:
        if network not in before.layers:
            continue
        mine, its = after.layers[network], before.layers[network]
        different = [
            f"{network}.{path}"
            for path in {**its, **mine}
            if path not in mine or path not in its or _matrix(mine[path]) != _matrix(its[path])
        ]
        if different:
            problems.append(
                f"{len(different)} layers of the {network} are not in both models in one shape: {listed(different)}; give the "
                "model that the other was tuned from."
            )
        names = unet_targets(mine, targets) if network == "unet" else text_encoder_targets(mine)
        chosen += [(network, path) for path in names]
    if problems:
        raise UserError(problems)
    return chosen


def _matrix(layer: Layer) -> tuple[int, int]:
    """Its shape as a matrix, in which a linear layer and a 1x1 convolution are the same; models have one or the other."""
    return layer.outputs, layer.columns


def _difference(after: BaseWeights, before: BaseWeights, network: str, name: str) -> Tensor:
    """As a matrix or vector, fp64."""
    new, old = (base.tensor(network, name).double() for base in (after, before))
    return (new.flatten(1) - old.flatten(1)) if new.ndim > 1 else new - old


def _extracted(
    after: BaseWeights, before: BaseWeights, network: str, path: str, limits: Limits
) -> tuple[LayerWeights, Reduction] | None:
    """None for a layer that is the same in both."""
    difference = _difference(after, before, network, f"{path}.weight")
    if not difference.any():
        return None
    layer, spectrum = after.layers[network][path], of_matrix(difference)
    rank = rank_for_energy(spectrum.values, limits.keep, limits.conv_rank if layer.is_spatial else limits.rank)
    weights = LayerWeights(
        network=network, path=path, layer=layer, tensors=lora_tensors(spectrum, layer, rank), alpha=float(rank)
    )
    return weights, reduction_of(weights.name, spectrum, rank)


def _digests(base: BaseWeights) -> dict[str, str]:
    files = {place.file.path for places in base.places.values() for place in places.values()}
    root = base.path if base.path.is_dir() else base.path.parent
    return {str(file.relative_to(root)): sha256_of(file) for file in sorted(files)}


def _remarks(
    after: BaseWeights, before: BaseWeights, chosen: Sequence[tuple[str, str]], reductions: Sequence[Reduction]
) -> Iterator[str]:
    """What of the difference is in no layer of the adapter, and what could not be compared."""
    if len(reductions) < len(chosen):
        yield f"{len(chosen) - len(reductions)} layers are the same in both models, and left out."
    inside = sum(reduction.whole**2 for reduction in reductions)
    weights = {(network, f"{path}.weight") for network, path in chosen}
    outside = sum(
        float(_difference(after, before, network, name).square().sum())
        for network in after.places
        for name in sorted(after.places[network].keys() & before.places.get(network, {}).keys())
        if (network, name) not in weights
    )
    if outside:
        yield (
            f"Of the whole difference, {share(outside / (inside + outside))} of the energy lies in other tensors (biases, norms, "
            "embeddings, layers that are no targets), which this adapter does not hold."
        )
    alone = sorted(set(after.places) ^ set(before.places))
    if alone:
        yield f"Only one of the models has {', '.join(alone)}, so that nothing of it is extracted."
    if after.has_openclip or before.has_openclip:
        yield (
            "The second text encoder of a single file is in OpenCLIP's names, which are not read; give folders in diffusers' "
            "layout to have it extracted."
        )
