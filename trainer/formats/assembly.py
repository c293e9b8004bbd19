"""Keys and shapes of a file → modules, then layers with their tensors. What is wrong is collected, not raised one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from trainer.adapters.targets import Layer
from trainer.adapters.weights import LayerWeights
from trainer.formats import names
from trainer.formats.endings import ALPHA, foreign, taken_apart
from trainer.formats.family import Family
from trainer.formats.grammar import geometry
from trainer.formats.names import Dialect, ModuleName
from trainer.formats.opening import Entry
from trainer.formats.shapes import Contradiction, layer_of

_DTYPES = ("F16", "BF16", "F32", "F64")
_ALPHA_DTYPES = (*_DTYPES, "I32", "I64")
"""kohya's trainer writes an alpha that was given as a whole number as one."""

SHOWN = 5
"""Of many things that are wrong in the same way, so many are named."""
LONGEST = 120
"""Characters of a name that are shown."""

_READERS: Mapping[Dialect, Callable[[str], ModuleName | None]] = {
    "kohya": names.from_kohya,
    "lycoris": names.from_lycoris,
    "diffusers": names.from_diffusers,
}


@dataclass
class Modules:
    """The modules of a file by the layer that they belong to, and what is wrong with the file."""

    keys: dict[ModuleName, dict[str, str]] = field(default_factory=dict)
    """By layer and by our name of a tensor: its key."""
    spellings: dict[ModuleName, str] = field(default_factory=dict)
    """A module's name as the file has it."""
    problems: list[str] = field(default_factory=list)


def listed(things: Iterable[str]) -> str:
    """Some of them, and how many there are more. A file can call its tensors anything, at any length."""
    found = list(things)
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return ", ".join((name if name.isprintable() else ascii(name))[:LONGEST] for name in found[:SHOWN]) + more


def modules_of(keys: Iterable[str], dialect: Dialect, network: str | None = None) -> Modules:
    """`network` is PEFT's directory's; other dialects name it in each key."""
    found = Modules()
    strange: list[str] = []
    unknown: dict[str, None] = {}
    doubled: list[str] = []
    types: dict[str, list[str]] = {}
    for key in keys:
        ending = taken_apart(key, dialect)
        if ending is None:
            type_ = foreign(key)
            (strange if type_ is None else types.setdefault(type_, [])).append(key)
            continue
        name = names.from_peft(ending.module, network) if network else _READERS[dialect](ending.module)
        if name is None:
            unknown[ending.module] = None
        elif ending.name in found.keys.setdefault(name, {}):
            doubled.append(f"{key} and {found.keys[name][ending.name]}")
        else:
            found.keys[name][ending.name] = key
            found.spellings.setdefault(name, ending.module)
    for type_, its in types.items():
        found.problems.append(f"It is of a type that is not supported, {type_}: {listed(its)}.")
    if strange:
        found.problems.append(f"{len(strange)} keys are of no known adapter: {listed(strange)}.")
    if unknown:
        found.problems.append(
            f"{len(unknown)} modules belong to no layer of SD1.5's or SDXL's networks: {listed(unknown)}."
        )
    if doubled:
        found.problems.append(f"{len(doubled)} tensors are there twice, in two spellings: {listed(doubled)}.")
    return found


def checked_layers(modules: Modules, entries: Mapping[str, Entry], family: Family) -> dict[ModuleName, Layer]:
    """The layer that each module is made for, by names, types and shapes; problems are added to those of `modules`."""
    layers: dict[ModuleName, Layer] = {}
    for name, keys in modules.keys.items():
        spelling = modules.spellings[name]
        about = [f"{keys[tensor]} {problem}" for tensor, problem in _entry_problems(keys, entries)]
        try:
            shapes = {tensor: entries[key].shape for tensor, key in keys.items() if tensor != ALPHA}
            if not shapes:
                raise Contradiction("has an alpha and no other tensor")
            if not about:
                layers[name] = layer_of(shapes, geometry(name.path, projections_convolve=family == "sd15"))
        except Contradiction as contradiction:
            about.append(f"Module {spelling} {contradiction}.")
        modules.problems += about
    return layers


def _entry_problems(keys: Mapping[str, str], entries: Mapping[str, Entry]) -> Iterable[tuple[str, str]]:
    for tensor, key in keys.items():
        entry = entries[key]
        if entry.dtype not in (_ALPHA_DTYPES if tensor == ALPHA else _DTYPES):
            yield tensor, f"is of type {entry.dtype}; an adapter's numbers are {', '.join(_DTYPES)}."
        if tensor == ALPHA and entry.shape not in ((), (1,)):
            yield tensor, f"has the shape {entry.shape}; an alpha is one number."
        if tensor != ALPHA and (0 in entry.shape or not 2 <= len(entry.shape) <= 4):
            yield tensor, f"has the shape {entry.shape}, which no tensor of an adapter has."


def assembled(
    modules: Modules,
    layers: Mapping[ModuleName, Layer],
    tensors: Mapping[str, Tensor],
    strength_of: Callable[[ModuleName], float] | None,
) -> tuple[list[LayerWeights], int]:
    """Layers with their tensors, and how many of them have no alpha: rank is meant.

    `strength_of` where the strength stands beside the tensors; a strength that the tensors' kind ignores is multiplied in.
    """
    found, without = [], 0
    for name, layer in layers.items():
        keys = modules.keys[name]
        mine = {tensor: tensors[key] for tensor, key in keys.items() if tensor != ALPHA}
        weights = LayerWeights(network=name.network, path=name.path, layer=layer, tensors=mine, alpha=1.0)
        rank = weights.rank
        if ALPHA in keys:
            found.append(weights.with_tensors(mine, float(tensors[keys[ALPHA]])))
        elif strength_of is None:
            without += rank is not None
            found.append(weights.with_tensors(mine, float(rank or 1)))
        else:
            found.append(_with_strength(weights, strength_of(name)))
    return found, without


def _with_strength(weights: LayerWeights, strength: float) -> LayerWeights:
    rank = weights.rank
    if rank is not None:
        return weights.with_tensors(weights.tensors, strength * rank)
    first = next(iter(weights.tensors))
    return weights.with_tensors({**weights.tensors, first: weights.tensors[first] * strength}, 1.0)
