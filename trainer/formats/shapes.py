"""Whether the tensors of one module fit together, by their names and shapes alone, and what layer they are made for.

O outputs, I inputs, k the kernel's side, r the rank. See `adapters.lora` and its neighbours for the tensors of each kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from trainer.adapters.targets import Layer, Pair
from trainer.formats.grammar import Geometry

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]

LARGEST_LAYER = 2**28
"""Numbers in the weight of a layer; the largest of SDXL has 30 million. Small factors can be made for any size."""


class Contradiction(Exception):
    """Tensors that do not fit together. The message is the rest of a sentence that begins with the module's name."""


def layer_of(shapes: Shapes, geometry: Geometry) -> Layer:
    """The layer that a module's tensors, named as LyCORIS names them, are made for; raises Contradiction."""
    kinds = sorted({name.partition("_")[0] for name in shapes})
    if len(kinds) > 1:
        raise Contradiction(f"has tensors of {len(kinds)} adapter types ({', '.join(kinds)}); it must be of one")
    outputs, columns, kernel = _MEASURES[kinds[0]](shapes, geometry)
    spread = math.prod(kernel or (1, 1))
    if outputs * columns * spread > LARGEST_LAYER:
        raise Contradiction(f"is made for a layer of {outputs} x {columns * spread}, which no base model has")
    if kernel not in geometry.kernels:
        raise Contradiction(
            f"has the kernel {_said(kernel)}, but a layer of this name has {_said(geometry.kernels[0])}"
        )
    return Layer(
        outputs,
        columns,
        kernel,
        (1, 1) if kernel is None else geometry.stride,
        (0, 0) if kernel is None else geometry.padding,
    )


def _said(kernel: Pair | None) -> str:
    return "of a linear layer" if kernel is None else f"{kernel[0]}x{kernel[1]}"


def _need(shapes: Shapes, needed: tuple[str, ...], allowed: tuple[str, ...] = ()) -> None:
    missing = [name for name in needed if name not in shapes]
    if missing:
        raise Contradiction(f"lacks {' and '.join(missing)} beside {', '.join(sorted(shapes))}")
    stray = sorted(set(shapes) - {*needed, *allowed})
    if stray:
        raise Contradiction(f"has {', '.join(stray)}, which do not belong beside {', '.join(needed)}")


def _agree(shapes: Shapes, names: tuple[str, ...], *, sides: int | tuple[int, ...], same: bool) -> None:
    """Raises unless these tensors have one of these numbers of sides, and `same` holds of them."""
    allowed = (sides,) if isinstance(sides, int) else sides
    if not same or any(len(shapes[name]) not in allowed for name in names):
        described = ", ".join(f"{name} {shapes[name]}" for name in names)
        raise Contradiction(f"has tensors whose shapes do not fit together: {described}")


Measures = tuple[int, int, Pair | None]
"""O, I and the kernel."""


def _pair(shape: Shape) -> Pair | None:
    return (shape[-2], shape[-1]) if len(shape) == 4 else None


def _is_core(shape: Shape, rank: int) -> bool:
    """Whether a tensor can be the core of a Tucker decomposition, which only a kernel wider than one place has."""
    return shape[:2] == (rank, rank) and shape[2:] != (1, 1)


def _unfolded(columns: int, geometry: Geometry, name: str) -> tuple[int, Pair | None]:
    """I and the kernel of a matrix with a column for each input and each place in the kernel."""
    kernel = geometry.kernels[0]
    spread = math.prod(kernel or (1, 1))
    if columns % spread:
        raise Contradiction(
            f"has {name} with {columns} columns, which must be a multiple of {spread} in a layer of this name"
        )
    return columns // spread, kernel


def _lora(shapes: Shapes, _: Geometry) -> Measures:
    core = ("lora_mid",) if "lora_mid" in shapes else ()
    _need(shapes, ("lora_down", "lora_up"), core)
    down, up = shapes["lora_down"], shapes["lora_up"]
    fit = len(down) == len(up) and down[0] == up[1] and set(up[2:]) <= {1}
    _agree(shapes, ("lora_down", "lora_up"), sides=(2, 4), same=fit)
    if not core:
        return up[0], down[1], _pair(down)
    mid, rank = shapes["lora_mid"], down[0]
    _agree(shapes, ("lora_down", "lora_mid", "lora_up"), sides=4, same=_is_core(mid, rank) and set(down[2:]) == {1})
    return up[0], down[1], _pair(mid)


def _hada(shapes: Shapes, geometry: Geometry) -> Measures:
    core = ("hada_t1", "hada_t2") if {"hada_t1", "hada_t2"} & set(shapes) else ()
    factors = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")
    _need(shapes, (*factors, *core))
    a, b = shapes["hada_w1_a"], shapes["hada_w1_b"]
    same = a == shapes["hada_w2_a"] and b == shapes["hada_w2_b"] and len(a) == len(b) == 2
    _agree(shapes, factors, sides=2, same=same and a[0 if core else 1] == b[0])
    if not core:
        return a[0], *_unfolded(b[1], geometry, "hada_w1_b")
    t1, t2 = shapes["hada_t1"], shapes["hada_t2"]
    _agree(shapes, core, sides=4, same=t1 == t2 and _is_core(t1, b[0]))
    return a[1], b[1], _pair(t1)


def _lokr(shapes: Shapes, geometry: Geometry) -> Measures:
    core = ("lokr_t2",) if "lokr_t2" in shapes else ()
    small = ("lokr_w1",) if "lokr_w1" in shapes else ("lokr_w1_a", "lokr_w1_b")
    large = ("lokr_w2",) if "lokr_w2" in shapes and not core else ("lokr_w2_a", "lokr_w2_b", *core)
    _need(shapes, (*small, *large))
    _agree(shapes, small, sides=2, same=len(small) == 1 or shapes[small[0]][-1] == shapes[small[1]][0])
    above, beside = shapes[small[0]][0], shapes[small[-1]][-1]
    if len(large) == 1:
        w2 = shapes["lokr_w2"]
        _agree(shapes, large, sides=(2, 4), same=True)
        kernel = _pair(w2) or (geometry.kernels[0] if geometry.kernels[0] == (1, 1) else None)
        return above * w2[0], beside * w2[1], kernel
    a, b = shapes["lokr_w2_a"], shapes["lokr_w2_b"]
    _agree(shapes, large[:2], sides=2, same=len(a) == 2 and a[0 if core else 1] == b[0])
    if not core:
        inputs, kernel = _unfolded(b[1], geometry, "lokr_w2_b")
        return above * a[0], beside * inputs, kernel
    t2 = shapes["lokr_t2"]
    _agree(shapes, core, sides=4, same=_is_core(t2, b[0]))
    return above * a[1], beside * b[1], _pair(t2)


_MEASURES: Mapping[str, Callable[[Shapes, Geometry], Measures]] = {"lora": _lora, "hada": _hada, "lokr": _lokr}
